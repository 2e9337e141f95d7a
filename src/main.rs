//! Command line.
fn main() {
    for (_, crd) in sightline::crds::custom_resource_definitions() {
        print!("---\n{}", sightline::crds::definition_yaml(&crd).unwrap_or_default());
    }
}
