//! The macro that makes a library a plugin.

/// Constructors by kind, for [`crate::export_plugin!`].
#[doc(hidden)]
pub mod construct {
    pub use crate::{
        judge::boxed as judge, metric::boxed as metric, model::boxed as model,
        remask::boxed as remasker, sae::boxed as sae, steer::boxed as steering,
    };
}

/// Makes the library a plugin.
///
/// ```text
/// harness_sdk::export_plugin! {
///     id: "my-plugin",
///     torch: "2.11.0",                       // only when the library links libtorch
///     components: [
///         metric "my-metric" => MyMetric: "one line about it",
///         remasker "my-order" => MyOrder: "one line about it",
///     ]
/// }
/// ```
///
/// Kinds: `model`, `sae`, `remasker`, `steering`, `metric`, `judge`. The version is the crate's.
/// What is said here must agree with `plugin.toml`.
#[macro_export]
macro_rules! export_plugin {
    (
        id: $id:expr,
        $(torch: $torch:expr,)?
        components: [ $( $kind:ident $name:literal => $ty:ty : $summary:literal ),+ $(,)? ] $(,)?
    ) => {
        const _: () = {
            use $crate::__private as p;

            extern "C" fn info() -> p::abi::AbiResult<p::abi::PluginInfo> {
                let torch: &str = [$($torch,)? ""][0];
                let mut components = p::RVec::new();
                $( components.push(p::abi::ComponentInfo {
                    kind: $crate::__kind!($kind),
                    name: p::RString::from($name),
                    summary: p::RString::from($summary),
                }); )+
                p::abi::AbiResult::ROk(p::abi::PluginInfo {
                    id: p::RString::from($id),
                    version: p::RString::from(env!("CARGO_PKG_VERSION")),
                    abi_major: p::abi::ABI_VERSION.0,
                    abi_minor: p::abi::ABI_VERSION.1,
                    torch: p::RString::from(torch),
                    components,
                })
            }

            $crate::__constructor!(new_model, model, p::abi::ModelBox, [$( $kind $name $ty ),+]);
            $crate::__constructor!(new_sae, sae, p::abi::SaeArchitectureBox, [$( $kind $name $ty ),+]);
            $crate::__constructor!(new_remasker, remasker, p::abi::RemaskerBox, [$( $kind $name $ty ),+]);
            $crate::__constructor!(new_steering, steering, p::abi::SteeringPolicyBox, [$( $kind $name $ty ),+]);
            $crate::__constructor!(new_metric, metric, p::abi::MetricBox, [$( $kind $name $ty ),+]);
            $crate::__constructor!(new_judge, judge, p::abi::JudgeBox, [$( $kind $name $ty ),+]);

            fn module() -> p::abi::PluginModRef {
                p::PrefixTypeTrait::leak_into_prefix(p::abi::PluginMod {
                    info,
                    new_model,
                    new_sae,
                    new_remasker,
                    new_steering,
                    new_metric,
                    new_judge,
                })
            }

            extern "C" fn erased() -> p::RootModuleResult {
                p::__call_root_module_loader(module)
            }

            // The name is `__private::ROOT_SYMBOL`; an attribute takes a literal only.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            // SAFETY: `erased` returns the module type named here.
            pub static ROOT: p::LibHeader = unsafe {
                p::LibHeader::from_constructor::<p::abi::PluginModRef>(erased, p::CheckTypeLayout::Yes)
            };
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kind {
    (model) => {
        p::abi::ComponentKind::MODEL
    };
    (sae) => {
        p::abi::ComponentKind::SAE
    };
    (remasker) => {
        p::abi::ComponentKind::REMASKER
    };
    (steering) => {
        p::abi::ComponentKind::STEERING
    };
    (metric) => {
        p::abi::ComponentKind::METRIC
    };
    (judge) => {
        p::abi::ComponentKind::JUDGE
    };
    ($other:ident) => {
        compile_error!(concat!(
            "unknown kind `",
            stringify!($other),
            "`: model, sae, remasker, steering, metric, judge"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __constructor {
    ($function:ident, $want:ident, $boxed:ty, [$( $kind:ident $name:literal $ty:ty ),+]) => {
        extern "C" fn $function(
            name: $crate::__private::RStr<'_>,
            config: $crate::__private::RStr<'_>,
        ) -> $crate::__private::abi::AbiResult<$boxed> {
            $crate::__private::dispatch(stringify!($want), name, config, |name, config| {
                let _ = (name, config);
                $( $crate::__component!($want $kind name config $name $ty); )+
                None
            })
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    (model model $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(model $n $c $name $ty) };
    (sae sae $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(sae $n $c $name $ty) };
    (remasker remasker $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(remasker $n $c $name $ty) };
    (steering steering $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(steering $n $c $name $ty) };
    (metric metric $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(metric $n $c $name $ty) };
    (judge judge $n:ident $c:ident $name:literal $ty:ty) => { $crate::__try!(judge $n $c $name $ty) };
    ($want:ident $kind:ident $n:ident $c:ident $name:literal $ty:ty) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __try {
    ($kind:ident $n:ident $c:ident $name:literal $ty:ty) => {
        if $n == $name {
            return Some($crate::__private::construct::$kind::<$ty>($n, $c));
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_exported_symbol_is_the_one_abi_stable_looks_up() {
        assert_eq!(
            abi_stable::library::ROOT_MODULE_LOADER_NAME,
            crate::__private::ROOT_SYMBOL
        );
    }
}
