//! A client that only reads and acknowledges: `bare PORT VHOST`. With a port in `REPORT` it tells that one of each message,
//! as a task would that takes no time.

use std::net::{Ipv4Addr, UdpSocket};

use amqprs::channel::{BasicAckArguments, BasicConsumeArguments, BasicQosArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use anyhow::{Context, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().context("the broker's port")?.parse()?;
    let vhost = args.next().context("the virtual host")?;
    let mut options = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
    let connection = Connection::open(options.virtual_host(&vhost)).await?;
    let channel = connection.open_channel(None).await?;
    channel.basic_qos(BasicQosArguments::new(0, 1000, false)).await?;
    let (_, mut deliveries) = channel.basic_consume_rx(BasicConsumeArguments::new("celery", "bare")).await?;
    let report = std::env::var("REPORT").ok().map(|port| port.parse::<u16>()).transpose()?;
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut batch = Vec::new();
    while deliveries.recv_many(&mut batch, 256).await > 0 {
        if let Some(port) = report {
            for body in batch.iter().filter_map(|message| message.content.as_deref()) {
                // The first argument of the task: `[[7], ...`.
                let digits = body.iter().skip(2).take_while(|byte| byte.is_ascii_digit()).copied();
                datagrams.send_to(&digits.collect::<Vec<_>>(), (Ipv4Addr::LOCALHOST, port))?;
            }
        }
        let last = batch.last().and_then(|message| message.deliver.as_ref()).context("a delivery")?;
        channel.basic_ack(BasicAckArguments::new(last.delivery_tag(), true)).await?;
        batch.clear();
    }
    Ok(())
}
