//! The AMQP 0-9-1 transport of celeriac, for RabbitMQ.
