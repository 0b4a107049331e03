//! Ctrl-C, SIGTERM and a closed terminal: each asks to end in good order.

use crate::error::{CliError, file};

/// Ends when the process is asked to stop. Signals are caught from this call on, not only once it is awaited.
#[cfg(unix)]
pub fn stop() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let on = |kind| signal(kind).map_err(file("listen for", "signals"));
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut hangup = on(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// The same where there is only Ctrl-C.
#[cfg(not(unix))]
pub fn stop() -> Result<impl Future<Output = ()> + Send + 'static, CliError> {
    Ok(async {
        // Without a handler the system ends the process itself.
        let _ = tokio::signal::ctrl_c().await;
    })
}
