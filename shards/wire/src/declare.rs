//! The declaration language of messages: from a list of fields with their versions come the struct, its decoder and its encoder.
//!
//! ```text
//! message! {
//!     /// What it is.
//!     struct Name['a] flexible 9 {      // `flexible`: only for whole requests and responses; `[]`: borrows nothing
//!         /// What it means.
//!         field: i32, 0;                // since version 0
//!         other: i64, 2..=7, = -1;      // versions 2 to 7, default -1
//!         tagged: i16, 9.., tag 0;      // a tagged field (KIP-482): written when it is not the default
//!     }
//! }
//! ```
//! A field that a version does not have takes its default when decoded and is left out when encoded.

/// See the module.
macro_rules! message {
    ($(#[$meta:meta])* struct $name:ident [$($lt:lifetime)?] $(flexible $flexible:literal)? {
        $($(#[$field_meta:meta])* $field:ident : $ty:ty, $from:literal $(..)? $(..= $to:literal)? $(, tag $tag:literal)? $(, = $default:expr)?;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $(<$lt>)? {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl $(<$lt>)? Default for $name $(<$lt>)? {
            fn default() -> Self {
                $name { $($field: $crate::declare::default_of!($($default)?),)* }
            }
        }

        #[cfg(test)]
        impl $(<$lt>)? $crate::oracle::Sample for $name $(<$lt>)? {
            fn sample(dice: &mut $crate::oracle::Dice) -> Self {
                $name { $($field: $crate::oracle::Sample::sample(dice),)* }
            }
        }

        $crate::declare::implement! { $name [$($lt)?] {
            $($field: $ty, ($from $(..= $to)?), ($($tag)?), ($($default)?);)*
        }}

        $crate::declare::whole! { $name [$($lt)?] $($flexible)? }
    };
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! in_versions {
    ($version:expr, ($from:literal)) => {
        $version >= $from
    };
    ($version:expr, ($from:literal ..= $to:literal)) => {
        ($from..=$to).contains(&$version)
    };
}

macro_rules! implement {
    ($name:ident [] $body:tt) => {
        $crate::declare::implement! { @with ['a] $name [] $body }
    };
    ($name:ident [$lt:lifetime] $body:tt) => {
        $crate::declare::implement! { @with [$lt] $name [$lt] $body }
    };
    (@with [$of:lifetime] $name:ident [$($lt:lifetime)?] {
        $($field:ident : $ty:ty, $versions:tt, $tag:tt, ($($default:expr)?);)*
    }) => {
        impl<$of> $crate::primitives::Field<$of> for $name $(<$lt>)? {
            fn read(
                reader: &mut $crate::primitives::Reader<$of>,
                ctx: $crate::primitives::Context,
            ) -> Result<Self, $crate::primitives::DecodeError> {
                #[allow(unused_mut)]
                let mut value = Self::default();
                $($crate::declare::read_plain!(reader, ctx, value.$field, $versions, $tag);)*
                if ctx.flexible {
                    reader.tagged(|_tag, _reader| {
                        $($crate::declare::read_tagged!(_tag, _reader, ctx, value.$field, $versions, $tag);)*
                        Ok(())
                    })?;
                }
                Ok(value)
            }

            fn write(&self, writer: &mut $crate::primitives::Writer, ctx: $crate::primitives::Context) {
                $($crate::declare::write_plain!(writer, ctx, self.$field, $versions, $tag);)*
                if ctx.flexible {
                    #[allow(unused_mut)]
                    let mut count = 0;
                    $($crate::declare::count_tagged!(count, ctx, self.$field, $ty, $versions, $tag, ($($default)?));)*
                    writer.uvarint(count);
                    $($crate::declare::write_tagged!(writer, ctx, self.$field, $ty, $versions, $tag, ($($default)?));)*
                }
            }
        }
    };
}

macro_rules! read_plain {
    ($reader:ident, $ctx:ident, $place:expr, $versions:tt, ()) => {
        if $crate::declare::in_versions!($ctx.version, $versions) {
            $place = $crate::primitives::Field::read($reader, $ctx)?;
        }
    };
    ($reader:ident, $ctx:ident, $place:expr, $versions:tt, ($tag:literal)) => {};
}

macro_rules! read_tagged {
    ($found:ident, $reader:ident, $ctx:ident, $place:expr, $versions:tt, ()) => {};
    ($found:ident, $reader:ident, $ctx:ident, $place:expr, $versions:tt, ($tag:literal)) => {
        if $found == $tag && $crate::declare::in_versions!($ctx.version, $versions) {
            $place = $crate::primitives::Field::read($reader, $ctx)?;
        }
    };
}

macro_rules! write_plain {
    ($writer:ident, $ctx:ident, $place:expr, $versions:tt, ()) => {
        if $crate::declare::in_versions!($ctx.version, $versions) {
            $crate::primitives::Field::write(&$place, $writer, $ctx);
        }
    };
    ($writer:ident, $ctx:ident, $place:expr, $versions:tt, ($tag:literal)) => {};
}

macro_rules! count_tagged {
    ($count:ident, $ctx:ident, $place:expr, $ty:ty, $versions:tt, (), $default:tt) => {};
    ($count:ident, $ctx:ident, $place:expr, $ty:ty, $versions:tt, ($tag:literal), ($($default:expr)?)) => {
        let default: $ty = $crate::declare::default_of!($($default)?);
        if $crate::declare::in_versions!($ctx.version, $versions) && $place != default {
            $count += 1;
        }
    };
}

macro_rules! write_tagged {
    ($writer:ident, $ctx:ident, $place:expr, $ty:ty, $versions:tt, (), $default:tt) => {};
    ($writer:ident, $ctx:ident, $place:expr, $ty:ty, $versions:tt, ($tag:literal), ($($default:expr)?)) => {
        let default: $ty = $crate::declare::default_of!($($default)?);
        if $crate::declare::in_versions!($ctx.version, $versions) && $place != default {
            $writer.tagged($tag, &$place, $ctx);
        }
    };
}

macro_rules! whole {
    ($name:ident [$($lt:lifetime)?]) => {};
    ($name:ident [] $flexible:literal) => {
        $crate::declare::whole! { @with ['a] $name [] $flexible }
    };
    ($name:ident [$lt:lifetime] $flexible:literal) => {
        $crate::declare::whole! { @with [$lt] $name [$lt] $flexible }
    };
    (@with [$of:lifetime] $name:ident [$($lt:lifetime)?] $flexible:literal) => {
        impl<$of> $crate::messages::Message<$of> for $name $(<$lt>)? {
            fn context(version: i16) -> $crate::primitives::Context {
                $crate::primitives::Context { version, flexible: version >= $flexible }
            }
        }
    };
}

pub(crate) use {
    count_tagged, default_of, implement, in_versions, message, read_plain, read_tagged, whole, write_plain,
    write_tagged,
};
