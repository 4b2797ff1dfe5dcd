/// Who sends: `gen123@host` (`celery/utils/nodenames.py`, `anon_nodename`).
pub(crate) fn origin() -> String {
    format!("gen{}@{}", std::process::id(), host())
}

/// This machine's name, as Python's `socket.gethostname`.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
