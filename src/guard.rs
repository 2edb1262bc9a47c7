//! Stage 3: may it pass? One file a guard, each a pure decision on what a request says. A guard knows
//! neither routes nor upstreams; who asks it and what becomes of its verdict is the exchange's.

pub mod cors;
pub mod networks;
pub mod origin;
pub mod quota;
