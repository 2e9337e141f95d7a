//! Names, labels and annotations that our objects share.

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "sightline";
/// Label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on our objects.
pub const MANAGED_BY_US: &str = "sightline";
/// Label with the name of the ObservabilityMesh that an object belongs to. An object with it is ours or adopted.
pub const MESH_LABEL: &str = "sightline.dev/mesh";
/// Annotation that says where each entry of an object comes from.
pub const SOURCES: &str = "sightline.dev/sources";
/// Annotation by which an owner lets us take over an object.
pub const ADOPT: &str = "sightline.dev/adopt";
/// Annotation of an object that was taken over: the name that one of our own would have. It keeps its name and its age,
/// and never gets owners.
pub const ADOPTED: &str = "sightline.dev/adopted";
/// Annotation that changes when a Service that the object's extension providers name is another one than before. istiod
/// looks a provider's Service up once per change of a Telemetry (istio/istio#56825), and takes a change of metadata for
/// one only where a key of a label or annotation contains `istio.io`.
pub const SERVICES: &str = "sightline.dev/services.istio.io";
/// Label that only istiods of one revision read an object.
pub const REVISION: &str = "istio.io/rev";
/// Label that lets a Secret be read by Sightline.
pub const SHARED: &str = "sightline.dev/shared";
/// Label by which a namespace, or `"false"` by which a workload, decides on environment.
pub const INJECT: &str = "sightline.dev/inject";
/// Finalizer of an ObservabilityMesh.
pub const FINALIZER: &str = "sightline.dev/cleanup";
/// Label with the name of the collector that an object is of.
pub const COLLECTOR_LABEL: &str = "sightline.dev/collector";
