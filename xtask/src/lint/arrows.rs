//! Who may depend on whom.

use super::graph::{Graph, Package};

/// What knows Redis.
const REDIS: &[&str] = &["celeriac-broker", "celeriac-protocol", "celeriac-redis-client"];
const TRANSPORTS: &[&str] = &["celeriac-broker", "celeriac-protocol"];

/// Every package of the workspace and the packages of the workspace that it may link.
const ARROWS: &[(&str, &[&str])] = &[
    ("celeriac-protocol", &[]),
    ("celeriac-macros", &[]),
    ("celeriac-cluster", &["celeriac-protocol"]),
    ("celeriac-broker", &["celeriac-protocol"]),
    ("celeriac-amqp", TRANSPORTS),
    ("celeriac-redis", REDIS),
    ("celeriac-redis-client", &["celeriac-broker"]),
    ("celeriac-sqlite", TRANSPORTS),
    ("celeriac-results", REDIS),
    ("celeriac-worker", &["celeriac-broker", "celeriac-cluster", "celeriac-protocol", "celeriac-results"]),
    (
        "celeriac-python",
        &["celeriac-broker", "celeriac-cluster", "celeriac-protocol", "celeriac-results", "celeriac-worker"],
    ),
    (
        "celeriac",
        &[
            "celeriac-amqp",
            "celeriac-broker",
            "celeriac-cluster",
            "celeriac-macros",
            "celeriac-protocol",
            "celeriac-redis",
            "celeriac-results",
            "celeriac-sqlite",
            "celeriac-worker",
        ],
    ),
    (
        "celeriac-cli",
        &[
            "celeriac",
            "celeriac-amqp",
            "celeriac-broker",
            "celeriac-cluster",
            "celeriac-protocol",
            "celeriac-python",
            "celeriac-redis",
            "celeriac-results",
            "celeriac-sqlite",
            "celeriac-worker",
        ],
    ),
    ("celeriac-chatter", &["celeriac"]),
    ("celeriac-load", &["celeriac"]),
    ("celeriac-state-load", &["celeriac-cluster", "celeriac-protocol"]),
    ("celeriac-testkit", &[]),
    ("xtask", &["celeriac-testkit"]),
];

/// Packages without I/O and clock.
pub const PURE: [&str; 2] = ["protocol", "cluster"];

/// What a package without I/O must not reach, however deep.
const IMPURE: [&str; 12] = [
    "async-io",
    "async-std",
    "h2",
    "hyper",
    "mio",
    "native-tls",
    "polling",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "ureq",
];

/// Binaries and what never leaves the workspace; libraries have error types.
const ANYHOW: [&str; 6] =
    ["celeriac-chatter", "celeriac-cli", "celeriac-load", "celeriac-state-load", "celeriac-testkit", "xtask"];

/// A line for each arrow that points up.
pub fn check(graph: &Graph) -> Vec<String> {
    graph.members().flat_map(|package| check_package(graph, package)).collect()
}

fn check_package(graph: &Graph, package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let mut wrong = Vec::new();
    let example = package.manifest.contains("/examples/");
    let allowed = ARROWS.iter().find(|(of, _)| *of == name).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !example {
        wrong.push(format!("{name} has no place yet in the arrows of xtask/src/lint/arrows.rs"));
    }
    for other in graph.names(&package.normal) {
        let own = graph.members().any(|member| member.name == other);
        if own && allowed.is_some_and(|allowed| !allowed.contains(&other)) {
            wrong.push(format!("{name} must not depend on {other}"));
        }
        if other == "anyhow" && !example && !ANYHOW.contains(&name) {
            wrong.push(format!("{name} must not depend on anyhow: a library has error types of its own"));
        }
    }
    if PURE.iter().any(|pure| name.strip_prefix("celeriac-") == Some(pure)) {
        let reachable = graph.reachable(package);
        let impure = IMPURE.iter().filter(|impure| reachable.contains(*impure));
        wrong.extend(impure.map(|impure| format!("{name} must not reach {impure}: it has no I/O")));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arrows: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in arrows {
            for name in [from, to] {
                let package = graph.packages.entry((*name).to_owned()).or_default();
                package.name = (*name).to_owned();
                package.member = ARROWS.iter().any(|(of, _)| of == name);
            }
            graph.packages.get_mut(*from).unwrap().normal.insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn arrows_that_point_down_hold() {
        let good =
            [("celeriac-amqp", "celeriac-broker"), ("celeriac-worker", "tokio"), ("celeriac-cli", "anyhow")];
        assert_eq!(check(&graph(&good)), Vec::<String>::new());
    }

    #[test]
    fn arrows_that_point_up_or_aside_are_named() {
        for bad in [
            ("celeriac-protocol", "celeriac-broker"),
            ("celeriac-amqp", "celeriac-sqlite"),
            ("celeriac-worker", "celeriac-amqp"),
            ("celeriac-worker", "celeriac-testkit"),
            ("celeriac-results", "anyhow"),
        ] {
            let wrong = check(&graph(&[bad]));
            assert!(wrong.len() == 1 && wrong[0].contains(bad.0) && wrong[0].contains(bad.1), "{wrong:?}");
        }
    }

    #[test]
    fn a_core_reaches_no_runtime_at_any_depth() {
        let wrong = check(&graph(&[("celeriac-protocol", "some"), ("some", "other"), ("other", "tokio")]));
        assert_eq!(wrong, ["celeriac-protocol must not reach tokio: it has no I/O"]);
    }
}
