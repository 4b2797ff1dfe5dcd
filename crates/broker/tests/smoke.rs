//! The fuzz target, fed with envelopes and with changes of them.

#[path = "../../../fuzz/src/feed.rs"]
mod feed;
#[path = "../../../fuzz/src/envelope.rs"]
mod target;

#[test]
fn envelopes() {
    let seeds = [
        r#"{"body":"eyJhIjogMX0=","content-encoding":"utf-8","content-type":"application/json","headers":{"h":1},"properties":{"delivery_mode":2,"delivery_info":{"exchange":"q","routing_key":"k","redelivered":true},"priority":3,"body_encoding":"base64","delivery_tag":"a"}}"#,
        r#"{"body":"[]","headers":null,"properties":{"body_encoding":"utf-8","expiration":5,"timestamp":7,"reply_to":"r","correlation_id":"c"},"redelivered":true}"#,
    ];
    feed::run(target::read, &seeds, b"\"[]{}:,0-\\eE.u=\xff");
}
