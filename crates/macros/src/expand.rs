//! The code that stands for a task.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ItemFn;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::function::{Absent, Function, Output, Parameter};
use crate::options::Options;

pub(crate) fn task(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    let item: ItemFn = syn::parse2(item)
        .map_err(|error| syn::Error::new(error.span(), format!("a task is a function: {error}")))?;
    let function = Function::new(item, options.bind.as_ref())?;
    let (code, call, native) = (code(&function), call(&function), native(&function, &options));
    let ItemFn { attrs, vis, sig, .. } = &function.item;
    let docs = attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let ident = &sig.ident;
    Ok(quote! {
        #(#docs)*
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #vis struct #ident {}

        /// The task, for `celeriac::AppBuilder::task`.
        // No unit struct: then no variable could have the task's name.
        #[allow(dead_code)]
        #vis fn #ident() -> #ident {
            #ident {}
        }

        impl #ident {
            #code
            #call
        }

        #native
    })
}

/// The function itself, under the name `run`.
fn code(function: &Function) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = &function.item;
    let attrs = attrs.iter().filter(|attribute| !attribute.path().is_ident("doc"));
    let (asyncness, inputs, output) = (&sig.asyncness, &sig.inputs, &sig.output);
    quote! {
        /// Runs the task's code here and now; nothing is sent.
        #(#attrs)*
        #[allow(dead_code, clippy::too_many_arguments)]
        #vis #asyncness fn run(#inputs) #output #block
    }
}

/// The call that a caller sends.
fn call(function: &Function) -> TokenStream {
    let (vis, value) = (&function.item.vis, value_type(&function.output));
    let inputs = function.parameters.iter().chain(&function.rest).chain(&function.more).map(|parameter| {
        let Parameter { ident, ty, .. } = parameter;
        quote!(#ident: #ty)
    });
    let arguments = function
        .parameters
        .iter()
        .map(|Parameter { ident, ty, .. }| quote_spanned!(ty.span()=> .arg(&#ident)));
    let rest = function.rest.iter().map(|Parameter { ident, .. }| quote!(.args(#ident)));
    let more = function.more.iter().map(|Parameter { ident, .. }| quote!(.kwargs(#ident)));
    quote! {
        /// A call of the task, to be sent.
        #[allow(dead_code, clippy::new_ret_no_self, clippy::too_many_arguments)]
        #vis fn new(#(#inputs),*) -> ::celeriac::TaskCall<#value> {
            ::celeriac::TaskCall::of(&Self {}) #(#arguments)* #(#rest)* #(#more)*
        }
    }
}

/// The type that a caller gets back.
fn value_type(output: &Output) -> TokenStream {
    match output {
        Output::Unit => quote!(()),
        Output::Plain(ty) => quote!(#ty),
        Output::Fallible(ty) => quote_spanned!(ty.span()=> <#ty as ::celeriac::__private::Fallible>::Value),
    }
}

fn native(function: &Function, options: &Options) -> TokenStream {
    let (ident, name) = (&function.item.sig.ident, function.name());
    let task_name = match &options.name {
        Some(name) => quote!(#name),
        None => quote! {{
            static NAME: ::std::sync::LazyLock<::std::string::String> =
                ::std::sync::LazyLock::new(|| ::celeriac::__private::task_name(::core::module_path!(), #name));
            &NAME
        }},
    };
    let fields = options.fields.iter().map(|(field, value)| quote!(options.#field = #value;));
    let mutable = (!options.fields.is_empty()).then(|| quote!(mut));
    let bindings = bindings(function);
    let signature = signature(function);
    let run = run(function);
    quote! {
        #[automatically_derived]
        impl ::celeriac::NativeTask for #ident {
            fn name(&self) -> &str {
                #task_name
            }

            fn options(&self) -> ::celeriac::TaskOptions {
                let #mutable options = ::celeriac::TaskOptions::default();
                #(#fields)*
                options
            }

            fn prepare(
                &self,
                __task: &::celeriac::Task,
                __args: ::std::vec::Vec<::celeriac::Value>,
                __kwargs: ::celeriac::Map,
            ) -> ::core::result::Result<::celeriac::Run, ::celeriac::ArgumentError> {
                #signature
                let __bound = __SIGNATURE.bind(__args, __kwargs)?;
                #bindings
                ::core::result::Result::Ok(#run)
            }
        }
    }
}

/// What Python's rules need to know of the parameters.
fn signature(function: &Function) -> TokenStream {
    let (name, count) = (function.name(), function.parameters.len());
    let parameters = function.parameters.iter().map(|Parameter { ident, absent, .. }| {
        let (name, required) = (ident.unraw().to_string(), matches!(absent, Absent::Error));
        quote!(::celeriac::__private::Parameter { name: #name, required: #required })
    });
    let (args, kwargs) = (function.rest.is_some(), function.more.is_some());
    quote! {
        const __SIGNATURE: &::celeriac::__private::Signature<#count> = &::celeriac::__private::Signature {
            name: #name,
            parameters: [#(#parameters),*],
            args: #args,
            kwargs: #kwargs,
        };
    }
}

/// One `let` for each parameter.
fn bindings(function: &Function) -> TokenStream {
    let idents = function.parameters.iter().map(|parameter| &parameter.ident);
    let arguments = function.parameters.iter().map(|Parameter { ident, ty, absent }| {
        let name = ident.unraw().to_string();
        let read = quote_spanned!(ty.span()=> __SIGNATURE.argument::<#ty>(#name, #ident)?);
        match absent {
            Absent::Default(value) => quote! {
                let #ident: #ty = if #ident.is_some() { #read } else { #value };
            },
            _ => quote!(let #ident: #ty = #read;),
        }
    });
    let rest = function
        .rest
        .iter()
        .map(|Parameter { ident, ty, .. }| quote_spanned!(ty.span()=> let #ident: #ty = __bound.args;));
    let more = function
        .more
        .iter()
        .map(|Parameter { ident, ty, .. }| quote_spanned!(ty.span()=> let #ident: #ty = __bound.kwargs;));
    let context =
        function.context.iter().map(|ident| quote!(let #ident = ::core::clone::Clone::clone(__task);));
    quote! {
        let [#(#idents),*] = __bound.slots;
        #(#arguments)*
        #(#rest)*
        #(#more)*
        #(#context)*
    }
}

fn run(function: &Function) -> TokenStream {
    let named = function.parameters.iter().chain(&function.rest).chain(&function.more);
    let inputs = function.context.iter().chain(named.map(|parameter| &parameter.ident));
    let code = quote!(Self::run(#(#inputs),*));
    let done = |code: TokenStream| match &function.output {
        Output::Unit => quote!({ #code; ::core::result::Result::Ok(::celeriac::Value::Null) }),
        Output::Plain(ty) => {
            let value = quote_spanned!(ty.span()=> ::celeriac::__private::value::<#ty>);
            quote!(#value(#code))
        }
        Output::Fallible(ty) => {
            let fallible = quote_spanned!(ty.span()=> ::celeriac::__private::Fallible::outcome);
            quote!(#fallible(#code))
        }
    };
    if function.item.sig.asyncness.is_some() {
        let done = done(quote!(#code.await));
        quote!(::celeriac::Run::Async(::std::boxed::Box::pin(async move { #done })))
    } else {
        let done = done(code);
        quote!(::celeriac::Run::Blocking(::std::boxed::Box::new(move || #done)))
    }
}
