//! The committed artifacts: is the code at an address the code of this version?

use std::sync::OnceLock;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    deployed_bytecode: alloy::primitives::Bytes,
    immutables: Vec<(usize, usize)>,
}

fn rollup() -> &'static Artifact {
    static ROLLUP: OnceLock<Artifact> = OnceLock::new();
    ROLLUP.get_or_init(|| {
        serde_json::from_str(include_str!("../artifacts/Rollup.json"))
            .expect("the artifact is committed and checked by a test")
    })
}

/// Whether `code` is the rollup's, whatever values its construction wrote into it.
pub(crate) fn is_rollup(code: &[u8]) -> bool {
    let artifact = rollup();
    if code.len() != artifact.deployed_bytecode.len() {
        return false;
    }
    let mut code = code.to_vec();
    for (start, length) in &artifact.immutables {
        code[*start..*start + *length].fill(0);
    }
    code == artifact.deployed_bytecode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollup_is_recognised_with_its_immutables_filled_in() {
        let artifact = rollup();
        let mut code = artifact.deployed_bytecode.to_vec();
        for (start, length) in &artifact.immutables {
            code[*start..*start + *length].fill(0xab);
        }
        assert!(is_rollup(&code));
        code[0] ^= 1;
        assert!(!is_rollup(&code));
        assert!(!is_rollup(&[]));
    }
}
