//! Restarting what reads configuration and does not reload it by itself (pure).
//!
//! - [`hash`]: what a workload reads, as one hash.
//! - [`template`]: the one patch that gives a pod template that hash and our environment, with `mounts` for files.
//! - [`governor`]: which of the stale workloads may be restarted now.
//!
//! Nothing here does I/O or reads a clock. The state that decides is in the cluster (the hash, the time and the digest
//! of our last restart stand on the workload, and each patch tests the resourceVersion), so a crash or a change of
//! leader neither forgets a restart nor doubles one. The only memory is that of the quiet period.

pub mod governor;
pub mod hash;
mod mounts;
pub mod template;

pub use governor::{
    AgentState, BlockReason, Decision, Limits, NOTHING_WANTED, Observed, QuietMemory, RolloutState, decide, observed,
    rolled_out, rollout_state,
};
pub use hash::{ConfigHash, Parts};
pub use template::{
    ChooseError, ContainerChoice, ContainerEnv, Injected, Note, TemplatePlan, Wanted, carries_hash, choose_containers,
    injected_record, plan_template, restarted_at, reverted_until, rolled_by_us, skip_failed, template_hash,
};
