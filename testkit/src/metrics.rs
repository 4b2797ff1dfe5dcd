//! RabbitMQ's own counters, by its plugin `rabbitmq_prometheus`: exact at the moment of the question, and cheap.

/// What has passed through a server since its start, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that clients have published.
    pub published: u64,
    /// Messages that consumers were sent, each copy counted.
    pub delivered: u64,
    /// Open connections.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Queues that were made since the server's start and are there.
    pub queues: u64,
}

impl Totals {
    /// Reads the lines `NAME{LABELS} FIGURE`; those of one name, by protocol and kind of queue, are added up.
    pub(crate) fn read(text: &str) -> Self {
        let mut totals = Self::default();
        let mut deleted = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, figure)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or_default();
            let total = match name {
                "rabbitmq_global_messages_received_total" => &mut totals.published,
                "rabbitmq_global_messages_delivered_consume_auto_ack_total"
                | "rabbitmq_global_messages_delivered_consume_manual_ack_total" => &mut totals.delivered,
                "rabbitmq_connections" => &mut totals.connections,
                "rabbitmq_channels" => &mut totals.channels,
                // The gauge `rabbitmq_queues` counts some that were deleted long ago.
                "rabbitmq_queues_created_total" => &mut totals.queues,
                "rabbitmq_queues_deleted_total" => &mut deleted,
                _ => continue,
            };
            *total += figure.parse::<u64>().unwrap_or_default();
        }
        totals.queues = totals.queues.saturating_sub(deleted);
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn kinds_of_queues_are_added_up() {
        let text = "# TYPE rabbitmq_queues gauge\nrabbitmq_queues 8\nrabbitmq_queues_created_total 9\n\
                    rabbitmq_queues_deleted_total 2\n\
                    rabbitmq_global_messages_delivered_consume_auto_ack_total{protocol=\"amqp091\",queue_type=\"a\"} 3\n\
                    rabbitmq_global_messages_delivered_consume_manual_ack_total{protocol=\"amqp091\",queue_type=\"b\"} 4\n";
        assert_eq!(Totals::read(text), Totals { queues: 7, delivered: 7, ..Totals::default() });
    }
}
