#[celeriac::task(retries = 3)]
fn unknown() {}

#[celeriac::task(acks_late, acks_late = false)]
fn twice() {}

#[celeriac::task(name = add)]
fn no_text() {}

#[celeriac::task(name = "")]
fn empty() {}

#[celeriac::task(acks_late = "yes")]
fn no_flag() {}

#[celeriac::task(time_limit = -1)]
fn negative() {}

#[celeriac::task(time_limit)]
fn no_seconds() {}

#[celeriac::task(max_retries = -1)]
fn no_count() {}

#[celeriac::task(priority = 256)]
fn too_large() {}

#[celeriac::task(bind = true)]
fn bind_has_no_value() {}

#[celeriac::task(time_limit = 10, soft_time_limit = 20)]
fn soft_after_hard() {}

#[celeriac::task(rate_limit = "10/d")]
fn no_unit() {}

#[celeriac::task(rate_limit = "often")]
fn no_rate() {}

#[celeriac::task(rate_limit)]
fn no_value() {}

#[celeriac::task(send_events = 0)]
fn no_events() {}

fn main() {}
