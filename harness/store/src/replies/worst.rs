use harness_contract::judging::Price;

use super::ReplyRequest;

/// What a question takes in the worst case.
///
/// A judge may find an answer cut or unusable and pay for one more of twice as many tokens, as the
/// plugin interface says: two prompts and three times `max_tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
}

impl Worst {
    /// The worst case of a request.
    pub fn of(request: &ReplyRequest) -> Worst {
        Worst {
            tokens_in: 2 * request.most_tokens_in(),
            tokens_out: 3 * u64::from(request.max_tokens),
        }
    }

    /// The worst case of a request in a batch, which is answered once.
    pub fn in_batch(request: &ReplyRequest) -> Worst {
        Worst {
            tokens_in: request.most_tokens_in(),
            tokens_out: u64::from(request.max_tokens),
        }
    }

    /// In USD; 0 where no price is known.
    pub fn usd(&self, price: Option<Price>) -> f64 {
        price.map_or(0.0, |price| price.usd(self.tokens_in, self.tokens_out))
    }
}
