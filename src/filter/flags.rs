//! Response flags: their short names and their bits in `response.flags`.

use super::error::{FilterError, Kind};
use crate::format::nearest;

/// Short names by bit: the order of Envoy's `CoreResponseFlag`, the same in 1.36 to 1.40. Requests and connections that
/// got each of them were logged by its bit and no other in Envoy 1.36.4 and 1.40.0, but for LR, IH, UMSDR, RFCF, NFCF
/// and OM, which stand where the ones around them leave no other place than the source's.
pub(super) const NAMES: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

/// CEL that holds where the flag of that short name is set. CEL has no test for bits: it divides and looks for odd.
pub(super) fn is_set(name: &str) -> Result<String, FilterError> {
    let Some(bit) = NAMES.iter().position(|known| *known == name) else {
        let upper = name.to_ascii_uppercase();
        let hint = match nearest(&upper, NAMES.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write short names as Envoy logs them, such as UF, UH or NR".to_owned(),
        };
        let message = format!("Envoy has no response flag `{name}`; {hint}");
        return Err(FilterError::whole(Kind::Property, &message));
    };
    Ok(format!("response.flags / {} % 2 == 1", 1_u64 << bit))
}
