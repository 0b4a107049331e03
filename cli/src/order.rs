//! What a requester signed for others to send, in a file: what `--sign-only` writes and `job relay` takes.

use std::path::Path;

use protocol::amount::Amount;
use protocol::api::text;
use protocol::ids::{Address, JobId, SpecHash};
use protocol::job::{ClosingOrder, FundingOrder, SignedOrder};
use protocol::ledger::Terms;
use protocol::sign::EthSignature;
use protocol::sign::eip712::Domain;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::{files, hex};

/// The version of the file.
const VERSION: u32 = 1;
/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// An order whose signature is its requester's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To fund a job.
    Fund {
        /// The relay that it is for.
        relay: Address,
        /// What is asked for.
        signed: Box<SignedOrder>,
    },
    /// To close one.
    Close {
        /// Which.
        order: ClosingOrder,
        /// Whose job it should be.
        requester: Address,
        /// The requester's.
        signature: EthSignature,
    },
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderFile {
    version: u32,
    chain_id: u64,
    #[serde(with = "text")]
    rollup: Address,
    #[serde(with = "text")]
    requester: Address,
    /// Unix seconds.
    deadline: u64,
    order: Asked,
    /// `r ‖ s ‖ v` in hexadecimal.
    signature: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Asked {
    Fund {
        #[serde(with = "text")]
        relay: Address,
        #[serde(with = "text")]
        coordinator: Address,
        #[serde(with = "text")]
        spec: SpecHash,
        terms: Terms,
        /// Tokens.
        #[serde(with = "text")]
        amount: Amount,
        nonce: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<String>,
    },
    Close {
        #[serde(with = "text")]
        job: JobId,
    },
}

impl Order {
    /// Who signed it.
    pub fn requester(&self) -> Address {
        match self {
            Self::Fund { signed, .. } => signed.order.requester,
            Self::Close { requester, .. } => *requester,
        }
    }

    /// Unix seconds: the last at which it can be sent.
    pub fn deadline(&self) -> u64 {
        match self {
            Self::Fund { signed, .. } => signed.order.deadline,
            Self::Close { order, .. } => order.deadline,
        }
    }

    /// Writes it.
    pub fn write(&self, path: &Path, rollup: &Domain) -> Result<(), CliError> {
        let text = |signature: EthSignature| hex::encode(&signature.to_bytes());
        let (order, signature) = match self {
            Self::Fund { relay, signed } => {
                let FundingOrder { coordinator, spec, terms, amount, nonce, .. } = signed.order;
                let permit = signed.permit.map(text);
                let relay = *relay;
                (Asked::Fund { relay, coordinator, spec, terms, amount, nonce, permit }, signed.signature)
            }
            Self::Close { order, signature, .. } => (Asked::Close { job: order.job }, *signature),
        };
        let file = OrderFile {
            version: VERSION,
            chain_id: rollup.chain_id,
            rollup: rollup.contract,
            requester: self.requester(),
            deadline: self.deadline(),
            order,
            signature: text(signature),
        };
        let json = serde_json::to_string_pretty(&file).map_err(|error| CliError::Input(error.to_string()))?;
        files::write(path, format!("{json}\n").as_bytes())
    }

    /// Reads one for this rollup and checks whose it is.
    pub fn read(path: &Path, rollup: &Domain) -> Result<Self, CliError> {
        let wrong = |why: String| CliError::Input(format!("{}: {why}", path.display()));
        let bytes = files::read(path, FILE_BYTES_MAX)?;
        let file: OrderFile = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if file.version != VERSION {
            return Err(wrong(format!("version {} is not one that this build reads", file.version)));
        }
        if (file.chain_id, file.rollup) != (rollup.chain_id, rollup.contract) {
            return Err(wrong(format!(
                "it is for the rollup {} on chain {}, not {} on chain {}",
                file.rollup, file.chain_id, rollup.contract, rollup.chain_id
            )));
        }
        let read = |text: &str| {
            let bytes = hex::decode(text, 65).and_then(|bytes| <[u8; 65]>::try_from(bytes).ok());
            let bytes =
                bytes.ok_or_else(|| wrong("a signature is not 65 bytes of hexadecimal text".into()))?;
            Ok(EthSignature::from_bytes(&bytes))
        };
        let signature = read(&file.signature)?;
        let (requester, deadline) = (file.requester, file.deadline);
        let (order, holds) = match file.order {
            Asked::Fund { relay, coordinator, spec, terms, amount, nonce, permit } => {
                let order = FundingOrder { requester, coordinator, spec, terms, amount, nonce, deadline };
                let permit = permit.as_deref().map(read).transpose()?;
                let signed = SignedOrder { order, signature, permit };
                let holds = signed.holds(&Domain { contract: relay, ..*rollup });
                (Self::Fund { relay, signed: Box::new(signed) }, holds)
            }
            Asked::Close { job } => {
                let order = ClosingOrder { job, deadline };
                let holds = signature.recover(&order.digest(rollup)) == Some(requester);
                (Self::Close { order, requester, signature }, holds)
            }
        };
        if holds { Ok(order) } else { Err(wrong(format!("it is not as {requester} has signed it"))) }
    }
}

#[cfg(test)]
mod tests {
    use protocol::sign::EthKey;

    use super::*;

    const ROLLUP: Domain = Domain { chain_id: 31_337, contract: Address([3; 20]) };

    fn orders() -> [Order; 2] {
        let (key, relay) = (EthKey::from_secret(&[5; 32]).unwrap(), Address([4; 20]));
        let order = FundingOrder {
            requester: key.address(),
            coordinator: Address([7; 20]),
            spec: SpecHash([8; 32]),
            terms: Terms {
                price_cap: 1,
                task_cap: 2,
                settlements: 3,
                rate: 4,
                burst: 5,
                fee_bps: 6,
                approve: false,
                kind: 1,
            },
            amount: Amount::units(9_000_000),
            nonce: 10,
            deadline: 11,
        };
        let signed = order.sign(&Domain { contract: relay, ..ROLLUP }, &key);
        let signed = SignedOrder { permit: Some(signed.signature), ..signed };
        let order = ClosingOrder { job: JobId(7), deadline: 12 };
        let signature = key.sign(&order.digest(&ROLLUP));
        [
            Order::Fund { relay, signed: Box::new(signed) },
            Order::Close { order, requester: key.address(), signature },
        ]
    }

    #[test]
    fn an_order_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order.json");
        for order in orders() {
            order.write(&path, &ROLLUP).unwrap();
            assert_eq!(Order::read(&path, &ROLLUP).unwrap(), order);
            let elsewhere = Domain { chain_id: 1, ..ROLLUP };
            let error = Order::read(&path, &elsewhere).unwrap_err().to_string();
            assert!(error.contains("not 0x0303") && error.contains("on chain 1"), "{error}");
        }
    }

    #[test]
    fn what_was_changed_or_is_no_order_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("order.json");
        let [fund, close] = orders();
        for (order, from, to, why) in [
            (&fund, "\"deadline\": 11", "\"deadline\": 99", "not as"),
            (&fund, "\"nonce\": 10", "\"nonce\": 11", "not as"),
            (&fund, "\"amount\": \"9\"", "\"amount\": \"8\"", "not as"),
            (&fund, "\"price_cap\": 1", "\"price_cap\": 2", "not as"),
            (&fund, "\"amount\": \"9\"", "\"amount\": \"-9\"", "order.json"),
            (&fund, "\"permit\": \"0x", "\"permit\": \"0xff", "65 bytes"),
            (&fund, "\"nonce\"", "\"once\"", "unknown field"),
            (&close, "\"job\": \"7\"", "\"job\": \"8\"", "not as"),
            (&close, "\"version\": 1", "\"version\": 2", "version 2"),
            (&close, "\"close\"", "\"open\"", "unknown variant"),
        ] {
            order.write(&path, &ROLLUP).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{from}: {text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = Order::read(&path, &ROLLUP).unwrap_err().to_string();
            assert!(error.contains(why), "{to}: {error}");
        }
        std::fs::write(&path, vec![b' '; 16 * 1024 + 1]).unwrap();
        assert!(Order::read(&path, &ROLLUP).unwrap_err().to_string().contains("over the limit"));
    }
}
