//! Response flags in CEL: their bits in `response.flags`.

use super::error::{FilterError, Kind};
use crate::format::preview::ResponseFlag;

/// CEL that holds where the flag of that short name is set. CEL has no test for bits: it divides and looks for odd.
pub(super) fn is_set(name: &str) -> Result<String, FilterError> {
    match ResponseFlag::of(name) {
        Ok(flag) => Ok(format!("response.flags / {} % 2 == 1", 1_u64 << flag.bit())),
        Err(error) => Err(FilterError::whole(Kind::Property, &error.to_string())),
    }
}
