//! What others send for a requester, as a person sees it.

use anyhow::Result;
use tests::real::Shell;

/// Orders that are signed, and those that are not sent.
pub(super) async fn screens(shell: &mut Shell) -> Result<()> {
    shell.run("fedroll job submit job.toml --sign-only order.json").await?;
    shell.run("fedroll job submit job.toml --sign-only order.json --yes").await?;
    shell.run("fedroll job cancel 9 --sign-only close.json --yes").await?;
    for order in ["order.json", "none.json", "job.toml"] {
        shell.run(&format!("fedroll job relay {order}")).await?;
    }
    shell.run("fedroll job relay order.json --yes --key-file none.key").await?;
    Ok(())
}
