//! The harness itself: what it reports is what Envoy said.

use std::time::{Duration, Instant};

use serde_json::json;
use sightline::format::EnvoyVersion;

use crate::envoy::{Envoy, Release, Verdict, address, filtered_log, json_log, text_log, verdicts};

/// What a look finds, as soon as it finds it; what it says where it does not, once that takes too long.
pub async fn found_within<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "not within {limit:?}: {why}"),
        }
    }
}

#[test]
fn there_is_one_envoy_for_each_supported_minor_version() {
    let versions: Vec<EnvoyVersion> = Release::all()
        .iter()
        .map(|release| release.version().unwrap())
        .collect();
    let supported: Vec<EnvoyVersion> = (36..=40).map(|minor| EnvoyVersion::new(1, minor)).collect();
    assert_eq!(versions, supported);
    assert_eq!(versions.first(), Some(&EnvoyVersion::OLDEST_SUPPORTED));
    assert_eq!(versions.last(), Some(&EnvoyVersion::NEWEST_KNOWN));
}

#[tokio::test]
async fn each_access_log_has_its_own_verdict_and_one_that_crashes_envoy_does_not_hide_the_others() {
    let logs = [
        text_log("%PROTOCOL%"),
        text_log("%COALESCE(null)%"),
        text_log("%NOPE%"),
        text_log("%COALESCE(5)%"),
        json_log(&json!({"a": {"b": ["%PROTOCOL%", 1, true, null]}})),
        json_log(&json!({"a": {"b": "100%"}})),
        filtered_log("response.code >= 400"),
        filtered_log("response.code >="),
        text_log("%REQ_WITHOUT_QUERY(:PATH)%"),
    ];
    let said = verdicts(Release::newest().unwrap(), &logs).await.unwrap();
    let words = |index: usize| match &said[index] {
        Verdict::Refused(message) => message.clone(),
        other => panic!("{index}: {other:?}"),
    };
    for accepted in [0, 4, 6, 8] {
        assert_eq!(said[accepted], Verdict::Accepted);
    }
    for crashed in [1, 3] {
        assert_eq!(said[crashed], Verdict::Crashed);
    }
    assert!(
        words(2).contains("Not supported field in StreamInfo: NOPE"),
        "{}",
        words(2)
    );
    assert!(words(5).contains("position 3"), "{}", words(5));
    assert!(words(7).contains("Not able to parse filter expression"), "{}", words(7));
}

#[tokio::test]
async fn a_listener_on_a_free_port_is_found_by_its_name() {
    let listener = json!({"name": "web", "address": address(0), "filter_chains": [{"filters": [{
        "name": "echo",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
    }]}]});
    let bootstrap = json!({"static_resources": {"listeners": [listener]}});
    let envoy = Envoy::start(Release::newest().unwrap(), bootstrap).await.unwrap();
    let found = envoy.listener("web").await.unwrap();
    assert!(std::net::TcpStream::connect(found).is_ok());
    assert!(envoy.listener("other").await.is_err());
}

#[tokio::test]
async fn a_bootstrap_that_envoy_refuses_is_an_error_with_its_words() {
    let bootstrap = json!({"static_resources": {"nonsense": 1}});
    let error = Envoy::start(Release::newest().unwrap(), bootstrap)
        .await
        .expect_err("no such field");
    assert!(format!("{error:#}").contains("nonsense"), "{error:#}");
}
