//! `logit_bias`: an object of biases under token ids.
//!
//! Read by `draft`.

use serde::de::MapAccess;

use super::declared::{BIAS, BIASES, LOGIT_BIAS};
use crate::api::http::ApiError;
use crate::api::json::{Brief, Shape};
use crate::request::TokenBias;

/// Reads `logit_bias` for a vocabulary of this size; nothing comes of `null`.
pub struct LogitBiasShape {
    /// Number of ids.
    pub vocab: usize,
}

impl Shape for LogitBiasShape {
    type Read = Option<Result<Vec<TokenBias>, ApiError>>;

    fn object<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Read, A::Error> {
        let (mut count, mut read) = (0, Ok(Vec::new()));
        while let Some((name, value)) = object.next_entry::<String, Brief>()? {
            count += 1;
            let Ok(biases) = &mut read else { continue };
            match self.bias(&name, &value) {
                Ok(bias) if biases.len() < BIASES => biases.push(bias),
                Ok(_) => {}
                Err(error) => read = Err(error),
            }
        }
        if count > BIASES {
            read = Err(ApiError::TooMany { param: LOGIT_BIAS, count, unit: "biases", limit: BIASES });
        }
        Ok(Some(read.and_then(each_once)))
    }

    fn other(self, value: Brief) -> Self::Read {
        let (expected, found) = ("an object of numbers under token ids", value.kind());
        (value != Brief::Null).then(|| Err(ApiError::WrongType { param: LOGIT_BIAS.to_owned(), expected, found }))
    }
}

impl LogitBiasShape {
    fn bias(&self, name: &str, value: &Brief) -> Result<TokenBias, ApiError> {
        let is_number = !name.is_empty() && name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        let Some(id) = is_number.then(|| name.parse::<u64>().ok()).flatten() else {
            let problem = "must have token ids as names: whole numbers, written as strings";
            return Err(ApiError::Invalid { param: LOGIT_BIAS.to_owned(), problem });
        };
        let param = || format!("{LOGIT_BIAS}[{id}]");
        let known = u32::try_from(id).ok().filter(|&id| (id as usize) < self.vocab);
        let Some(known) = known else {
            return Err(ApiError::UnknownToken { param: LOGIT_BIAS.to_owned(), id, vocab: self.vocab });
        };
        let Some(bias) = value.number() else {
            return Err(ApiError::WrongType { param: param(), expected: "a number", found: value.kind() });
        };
        if !(-BIAS..=BIAS).contains(&bias) {
            return Err(ApiError::Invalid { param: param(), problem: "must be between -100 and 100" });
        }
        Ok(TokenBias { id: known, bias: bias as f32 })
    }
}

/// The biases, if none of them is for the id of another.
fn each_once(mut biases: Vec<TokenBias>) -> Result<Vec<TokenBias>, ApiError> {
    biases.sort_by_key(|bias| bias.id);
    if biases.windows(2).any(|pair| pair[0].id == pair[1].id) {
        let problem = "must hold each token id once";
        return Err(ApiError::Invalid { param: LOGIT_BIAS.to_owned(), problem });
    }
    Ok(biases)
}
