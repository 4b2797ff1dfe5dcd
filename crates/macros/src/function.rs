//! The function that is to be a task: what it takes and gives.

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Error, Expr, FnArg, Ident, ItemFn, Pat, PatType, ReturnType, Type};

/// A function that can be a task.
pub(crate) struct Function {
    /// As written, without our attributes on its parameters.
    pub(crate) item: ItemFn,
    /// The parameter that is the task's context.
    pub(crate) context: Option<Ident>,
    pub(crate) parameters: Vec<Parameter>,
    /// `#[args]`.
    pub(crate) rest: Option<Parameter>,
    /// `#[kwargs]`.
    pub(crate) more: Option<Parameter>,
    pub(crate) output: Output,
}

pub(crate) struct Parameter {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) absent: Absent,
}

/// What a parameter is when its argument is missing.
pub(crate) enum Absent {
    Error,
    None,
    Default(Expr),
}

/// What the function gives.
pub(crate) enum Output {
    Unit,
    Plain(Type),
    Fallible(Type),
}

/// Our attributes on a parameter.
enum Mark {
    Args,
    Kwargs,
    Default(Expr),
}

impl Function {
    pub(crate) fn new(mut item: ItemFn, bind: Option<&Ident>) -> syn::Result<Self> {
        check_signature(&item)?;
        let mut inputs = item.sig.inputs.iter_mut();
        let context = match bind {
            None => None,
            Some(bind) => Some(context(inputs.next(), bind)?),
        };
        let (mut parameters, mut rest, mut more): (Vec<Parameter>, Option<Parameter>, Option<Parameter>) =
            (Vec::new(), None, None);
        for input in inputs {
            let input = typed(input)?;
            let mark = take_mark(&mut input.attrs)?;
            let ident = ident(input)?;
            check_type(&input.ty)?;
            if is_named(&input.ty, "Task") {
                let message = "the task's context comes first, and needs the option `bind`";
                return Err(Error::new_spanned(&*input, message));
            }
            let is_late = rest.is_some() || more.is_some();
            let absent = match &mark {
                Some(Mark::Default(value)) => Absent::Default(value.clone()),
                _ if is_named(&input.ty, "Option") => Absent::None,
                _ => Absent::Error,
            };
            let parameter = Parameter { ident, ty: (*input.ty).clone(), absent };
            match mark {
                Some(Mark::Args) if is_late => {
                    return Err(Error::new_spanned(&*input, "`#[args]` comes once, before `#[kwargs]`"));
                }
                Some(Mark::Kwargs) if more.is_some() => {
                    return Err(Error::new_spanned(&*input, "`#[kwargs]` comes once"));
                }
                Some(Mark::Args) => rest = Some(parameter),
                Some(Mark::Kwargs) => more = Some(parameter),
                _ if is_late => {
                    return Err(Error::new_spanned(
                        &*input,
                        "`#[args]` and `#[kwargs]` come after all others",
                    ));
                }
                _ => parameters.push(parameter),
            }
        }
        let output = output(&item.sig.output)?;
        Ok(Function { context, parameters, rest, more, output, item })
    }

    /// The name that Python's messages call it by.
    pub(crate) fn name(&self) -> String {
        self.item.sig.ident.unraw().to_string()
    }
}

fn check_signature(item: &ItemFn) -> syn::Result<()> {
    let signature = &item.sig;
    let fail = |tokens: &dyn ToTokens, message: &str| Err(Error::new_spanned(tokens, message));
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        return fail(receiver, "a task is a free function: it cannot take `self`");
    }
    if !signature.generics.params.is_empty() {
        return fail(&signature.generics, "a task cannot be generic: its arguments come from a message");
    }
    if let Some(clause) = &signature.generics.where_clause {
        return fail(clause, "a task cannot be generic: its arguments come from a message");
    }
    if let Some(token) = &signature.constness {
        return fail(token, "a task is a plain `fn` or an `async fn`");
    }
    if let Some(token) = &signature.unsafety {
        return fail(token, "a task is a plain `fn` or an `async fn`");
    }
    if let Some(abi) = &signature.abi {
        return fail(abi, "a task is a plain `fn` or an `async fn`");
    }
    if let Some(variadic) = &signature.variadic {
        return fail(variadic, "write `#[args] rest: Vec<Value>` for further arguments");
    }
    Ok(())
}

/// The first parameter of a bound task.
fn context(input: Option<&mut FnArg>, bind: &Ident) -> syn::Result<Ident> {
    let message = "`bind` needs a first parameter of type `celeriac::Task`";
    let input = typed(input.ok_or_else(|| Error::new_spanned(bind, message))?)?;
    if !is_named(&input.ty, "Task") {
        return Err(Error::new_spanned(&input.ty, message));
    }
    ident(input)
}

fn typed(input: &mut FnArg) -> syn::Result<&mut PatType> {
    match input {
        FnArg::Typed(input) => Ok(input),
        FnArg::Receiver(receiver) => Err(Error::new_spanned(receiver, "a task cannot take `self`")),
    }
}

fn ident(input: &PatType) -> syn::Result<Ident> {
    match &*input.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            Ok(pattern.ident.clone())
        }
        pattern => Err(Error::new_spanned(pattern, "a task's parameter needs a name, for keyword arguments")),
    }
}

fn take_mark(attributes: &mut Vec<Attribute>) -> syn::Result<Option<Mark>> {
    let mut marks = Vec::new();
    for attribute in attributes.iter() {
        let mark = if attribute.path().is_ident("args") {
            attribute.meta.require_path_only().map(|_| Mark::Args)
        } else if attribute.path().is_ident("kwargs") {
            attribute.meta.require_path_only().map(|_| Mark::Kwargs)
        } else if attribute.path().is_ident("default") {
            attribute.parse_args().map(Mark::Default)
        } else {
            continue;
        };
        if !marks.is_empty() {
            let message = "only one of `#[args]`, `#[kwargs]` and `#[default(...)]`";
            return Err(Error::new_spanned(attribute, message));
        }
        marks.push(mark?);
    }
    attributes.retain(|attribute| {
        !["args", "kwargs", "default"].iter().any(|name| attribute.path().is_ident(name))
    });
    Ok(marks.pop())
}

fn check_type(ty: &Type) -> syn::Result<()> {
    match ty {
        Type::Reference(reference) => {
            let owned = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "`String`",
                Type::Slice(_) => "a `Vec`",
                _ => "the type itself",
            };
            let message = format!("a task cannot borrow: its arguments come from a message; take {owned}");
            Err(Error::new_spanned(ty, message))
        }
        Type::ImplTrait(_) => {
            Err(Error::new_spanned(ty, "a task cannot be generic: its arguments come from a message"))
        }
        _ => Ok(()),
    }
}

fn output(output: &ReturnType) -> syn::Result<Output> {
    let ReturnType::Type(_, ty) = output else { return Ok(Output::Unit) };
    let ends_with_result = |ty: &Type| match ty {
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| last.ident.to_string().ends_with("Result"))
        }
        _ => false,
    };
    match &**ty {
        Type::ImplTrait(_) => Err(Error::new_spanned(ty, "a task names the type of its result")),
        Type::Reference(reference)
            if reference.lifetime.as_ref().is_none_or(|life| life.ident != "static") =>
        {
            Err(Error::new_spanned(
                ty,
                "a task cannot lend its result; return an owned type such as `String`",
            ))
        }
        Type::Never(_) => Err(Error::new_spanned(ty, "a task ends: it cannot return `!`")),
        ty if ends_with_result(ty) => Ok(Output::Fallible(ty.clone())),
        ty => Ok(Output::Plain(ty.clone())),
    }
}

/// Whether the last segment of a path type is `name`.
fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        _ => false,
    }
}
