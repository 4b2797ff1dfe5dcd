//! What stands in the attribute's brackets.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Token};

/// The options of one task.
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) bind: Option<Ident>,
    /// The fields of `TaskOptions` that are set, with their values.
    pub(crate) fields: Vec<(Ident, TokenStream)>,
}

/// What an option's value may be.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Seconds,
    /// Alone it is one second (Celery's `True`); `false` is none.
    Backoff,
    Retries,
    Priority,
    /// Starts a second, or text such as `10/m`; 0 is no limit.
    Rate,
    Text,
}

/// The options that are fields of `TaskOptions`.
const FIELDS: &[(&str, Kind)] = &[
    ("max_retries", Kind::Retries),
    ("default_retry_delay", Kind::Seconds),
    ("autoretry", Kind::Flag),
    ("retry_backoff", Kind::Backoff),
    ("retry_backoff_max", Kind::Seconds),
    ("retry_jitter", Kind::Flag),
    ("acks_late", Kind::Flag),
    ("acks_on_failure_or_timeout", Kind::Flag),
    ("ignore_result", Kind::Flag),
    ("store_errors_even_if_ignored", Kind::Flag),
    ("track_started", Kind::Flag),
    ("time_limit", Kind::Seconds),
    ("soft_time_limit", Kind::Seconds),
    ("rate_limit", Kind::Rate),
    ("send_events", Kind::Flag),
    ("queue", Kind::Text),
    ("priority", Kind::Priority),
    ("expires", Kind::Seconds),
    ("serializer", Kind::Text),
    ("compression", Kind::Text),
];

/// `name` or `name = value`.
struct Setting {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() { Some(input.parse()?) } else { None };
        Ok(Setting { name, value })
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let settings = Punctuated::<Setting, Token![,]>::parse_terminated(input)?;
        let mut options = Options { name: None, bind: None, fields: Vec::new() };
        let mut seen: Vec<Ident> = Vec::new();
        let mut limits = (None, None);
        for setting in settings {
            if seen.contains(&setting.name) {
                return Err(Error::new(setting.name.span(), format!("`{}` is given twice", setting.name)));
            }
            seen.push(setting.name.clone());
            let name = setting.name.to_string();
            match name.as_str() {
                "name" => options.name = Some(setting.text()?),
                "bind" if setting.value.is_none() => options.bind = Some(setting.name),
                "bind" => return Err(setting.wrong("nothing: it stands alone")),
                _ => {
                    let kind = FIELDS.iter().find(|(field, _)| *field == name).map(|(_, kind)| *kind);
                    let value = setting.value_of(kind.ok_or_else(|| setting.unknown())?)?;
                    match name.as_str() {
                        "time_limit" => limits.0 = setting.seconds().ok(),
                        "soft_time_limit" => {
                            limits.1 = setting.seconds().ok().map(|soft| (soft, setting.name.span()))
                        }
                        _ => {}
                    }
                    options.fields.push((setting.name, value));
                }
            }
        }
        match limits {
            (Some(hard), Some((soft, span))) if soft > hard => {
                Err(Error::new(span, "`soft_time_limit` must be less than or equal to `time_limit`"))
            }
            _ => Ok(options),
        }
    }
}

impl Setting {
    fn value_of(&self, kind: Kind) -> syn::Result<TokenStream> {
        Ok(match kind {
            Kind::Flag => {
                let flag = self.flag()?;
                quote!(#flag)
            }
            Kind::Seconds => duration(self.seconds()?),
            Kind::Backoff => match &self.value {
                None => duration(Duration::from_secs(1)),
                Some(Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. })) => {
                    let some = duration(Duration::from_secs(1));
                    if flag.value { some } else { return Ok(quote!(::core::option::Option::None)) }
                }
                Some(_) => duration(self.seconds()?),
            },
            Kind::Retries => match &self.value {
                Some(Expr::Path(path)) if path.path.is_ident("None") => {
                    return Ok(quote!(::core::option::Option::None));
                }
                _ => {
                    let count: u32 = self.integer("a number from 0 to 4294967295, or `None` for ever")?;
                    quote!(#count)
                }
            },
            Kind::Priority => {
                let priority: u8 = self.integer("a number from 0 to 255")?;
                quote!(#priority)
            }
            Kind::Rate => {
                let rate = self.rate()?;
                return Ok(quote!(::celeriac::Rate::parse(#rate).unwrap_or_default()));
            }
            Kind::Text => {
                let text = self.text()?;
                quote!(::std::borrow::ToOwned::to_owned(#text))
            }
        })
        .map(|value| quote!(::core::convert::Into::into(#value)))
    }

    fn literal(&self) -> Option<&Lit> {
        match &self.value {
            Some(Expr::Lit(ExprLit { lit, .. })) => Some(lit),
            _ => None,
        }
    }

    fn flag(&self) -> syn::Result<bool> {
        match (&self.value, self.literal()) {
            (None, _) => Ok(true),
            (_, Some(Lit::Bool(flag))) => Ok(flag.value),
            _ => Err(self.wrong("`true` or `false`, or nothing")),
        }
    }

    fn seconds(&self) -> syn::Result<Duration> {
        let seconds = match self.literal() {
            Some(Lit::Int(number)) if number.suffix().is_empty() => number.base10_parse().ok(),
            Some(Lit::Float(number)) if number.suffix().is_empty() => number.base10_parse().ok(),
            _ => None,
        };
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| self.wrong("seconds, such as 30 or 2.5"))
    }

    /// Checked as `celeriac::Rate::parse` reads it.
    fn rate(&self) -> syn::Result<String> {
        let text = match self.literal() {
            Some(Lit::Str(text)) => text.value(),
            Some(Lit::Int(number)) if number.suffix().is_empty() => number.base10_digits().to_owned(),
            Some(Lit::Float(number)) if number.suffix().is_empty() => number.base10_digits().to_owned(),
            _ => String::new(),
        };
        let (count, unit) = text.split_once('/').unwrap_or((&text, "s"));
        let is_rate = count.trim().parse().is_ok_and(|count: f64| count.is_finite() && count >= 0.0);
        if is_rate && ["", "s", "m", "h"].contains(&unit) {
            Ok(text)
        } else {
            Err(self.wrong("a rate, such as \"10/s\", \"10/m\" or \"10/h\""))
        }
    }

    fn integer<N: std::str::FromStr<Err: std::fmt::Display>>(&self, expected: &str) -> syn::Result<N> {
        match self.literal() {
            Some(Lit::Int(number)) => number.base10_parse().map_err(|_| self.wrong(expected)),
            _ => Err(self.wrong(expected)),
        }
    }

    fn text(&self) -> syn::Result<LitStr> {
        match self.literal() {
            Some(Lit::Str(text)) if !text.value().is_empty() => Ok(text.clone()),
            _ => Err(self.wrong("text in double quotes")),
        }
    }

    fn wrong(&self, expected: &str) -> Error {
        let message = format!("`{}` takes {expected}", self.name);
        match &self.value {
            Some(value) => Error::new_spanned(value, message),
            None => Error::new(self.name.span(), message),
        }
    }

    fn unknown(&self) -> Error {
        let known: Vec<_> =
            ["name", "bind"].into_iter().chain(FIELDS.iter().map(|(name, _)| *name)).collect();
        let message = format!("there is no option `{}`; there are {}", self.name, known.join(", "));
        Error::new(self.name.span(), message)
    }
}

fn duration(time: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}
