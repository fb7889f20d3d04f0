//! One module a benchmark.

pub mod echo;


/// Calls a generic function once for each queue: its results, with the names.
macro_rules! each_peer {
    ($function:ident) => {
        [
            (<crate::peers::bare::Bare<false> as crate::peers::Peer>::NAME, $function::<crate::peers::bare::Bare<false>> as _),
            ("minimio", $function::<crate::peers::minimio::Minimio> as _),
            ("mio-drained", $function::<crate::peers::mio::Mio<false>> as _),
            ("mio-short-read", $function::<crate::peers::mio::Mio<true>> as _),
            ("polling-oneshot", $function::<crate::peers::polling::Polling<false>> as _),
            ("polling-level", $function::<crate::peers::polling::Polling<true>> as _),
            ("bare-again", $function::<crate::peers::bare::Bare<true>> as _),
        ]
    };
}
pub(crate) use each_peer;
