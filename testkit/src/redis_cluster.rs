//! A Redis Cluster.

use std::time::Duration;

use crate::{Redis, eventually, free_port};

const SLOTS: u32 = 16384;
const DEADLINE: Duration = Duration::from_secs(60);

/// Three masters with a third of the slots each, and a replica of the one that has what is tagged `{celeriac}`.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    owner: usize,
}

impl RedisCluster {
    /// Starts the nodes, and waits until all agree that all is well.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    pub fn start() -> Self {
        let node = |_| {
            let bus = free_port().to_string();
            // One database is all that a cluster has.
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--databases", "1"];
            let node = Redis::start_with(&[&options[..], &["--cluster-port", &bus]].concat());
            (node, bus)
        };
        let (nodes, buses): (Vec<_>, Vec<_>) = (0..4).map(node).unzip();
        let slot: u32 = nodes[0].cli(&["CLUSTER", "KEYSLOT", "{celeriac}"]).trim().parse().expect("a slot");
        let third = SLOTS / 3 + 1;
        for (number, node) in (0..).zip(&nodes[..3]) {
            let (first, last) = (number * third, ((number + 1) * third - 1).min(SLOTS - 1));
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        let cluster = Self { nodes, owner: usize::try_from(slot / third).expect("0 to 2") };
        let all_know = |what: &str, count: usize| {
            eventually(DEADLINE, what, || {
                let lines = |node: &Redis| {
                    node.cli(&["CLUSTER", "NODES"]).lines().filter(|line| line.contains(" connected")).count()
                };
                cluster.nodes.iter().all(|node| lines(node) == count).then_some(())
            });
        };
        all_know("the nodes know each other", 4);
        let id = cluster.nodes[cluster.owner].cli(&["CLUSTER", "MYID"]);
        cluster.nodes[3].cli(&["CLUSTER", "REPLICATE", id.trim()]);
        eventually(DEADLINE, "the cluster is well", || {
            let well = |node: &Redis| {
                node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && node.cli(&["CLUSTER", "NODES"]).contains("slave")
            };
            let follows = cluster.nodes[3].cli(&["INFO", "replication"]).contains("master_link_status:up");
            (follows && cluster.nodes.iter().all(well)).then_some(())
        });
        cluster
    }

    /// Its masters, as they are at the start, as `redis+cluster://` takes them, with parameters.
    pub fn url(&self, query: &str) -> String {
        let nodes: Vec<_> = self.nodes[..3].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}{query}", nodes.join(","))
    }

    /// The node that has what is tagged `{celeriac}` at the start.
    pub fn owner(&self) -> &Redis {
        &self.nodes[self.owner]
    }

    /// Its replica.
    pub fn replica(&self) -> &Redis {
        &self.nodes[3]
    }

    /// A node that has other slots.
    pub fn other(&self) -> &Redis {
        &self.nodes[(self.owner + 1) % 3]
    }

    /// Has the replica take over from its master, without a loss, and waits until both say so.
    ///
    /// # Panics
    /// When it does not.
    pub fn fail_over(&self) {
        self.replica().cli(&["CLUSTER", "FAILOVER"]);
        eventually(DEADLINE, "the replica is the master", || {
            let is = |node: &Redis, role: &str| node.cli(&["ROLE"]).starts_with(role);
            (is(self.replica(), "master") && is(self.owner(), "slave")).then_some(())
        });
    }

    /// Moves the slot of what is tagged so from one node to another, with its keys, as `redis-cli --cluster reshard` does.
    ///
    /// # Panics
    /// When a node refuses.
    pub fn move_slot(&self, tag: &str, from: &Redis, to: &Redis) {
        let slot = from.cli(&["CLUSTER", "KEYSLOT", tag]).trim().to_owned();
        let id = |node: &Redis| node.cli(&["CLUSTER", "MYID"]).trim().to_owned();
        let (source, target) = (id(from), id(to));
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        loop {
            let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let port = to.port().to_string();
            let command = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            from.cli(&[&command[..], &keys].concat());
        }
        for node in [to, from].into_iter().chain(&self.nodes) {
            // Replicas are told by their masters.
            if node.cli(&["ROLE"]).starts_with("master") {
                node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
            }
        }
    }
}
