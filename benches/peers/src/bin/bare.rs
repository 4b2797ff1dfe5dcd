//! A client that only reads and acknowledges: `bare PORT VHOST`.

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
    let mut batch = Vec::new();
    while deliveries.recv_many(&mut batch, 256).await > 0 {
        let last = batch.last().and_then(|message| message.deliver.as_ref()).context("a delivery")?;
        channel.basic_ack(BasicAckArguments::new(last.delivery_tag(), true)).await?;
        batch.clear();
    }
    Ok(())
}
