//! `sightline migrate`: what somebody wrote for a mesh, as that mesh's next version or Sightline reads it. Pure.

pub mod kuma;
