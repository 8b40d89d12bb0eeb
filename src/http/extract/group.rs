//! Groups of parameters, each declared once and taken by several operations.
//!
//! poem-openapi knows one parameter for each argument of an operation. A group is one argument, and one parameter whose schema
//! is an object; [`crate::http::openapi`] spreads it, so the document has each parameter by itself.

use poem::Request;
use poem_openapi::{
    error::ParseParamError,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromParameter, Type},
};

/// Declares a group of parameters in the query: a struct that an operation takes as an argument.
///
/// The comments are those of the document. `= "text"` after the type is the example.
macro_rules! parameters {
    (
        $(#[$about:meta])*
        $visibility:vis struct $Group:ident {
            $($(#[doc = $description:literal])+ $name:ident: $Type:ty $(= $example:literal)?,)+
        }
    ) => {
        $(#[$about])*
        $visibility struct $Group {
            $($(#[doc = $description])+ $visibility $name: $Type,)+
        }

        impl<'a> poem_openapi::ApiExtractor<'a> for $Group {
            const TYPES: &'static [poem_openapi::ApiExtractorType] = &[poem_openapi::ApiExtractorType::Parameter];
            type ParamType = ();
            type ParamRawType = ();

            fn param_in() -> Option<poem_openapi::registry::MetaParamIn> {
                Some(poem_openapi::registry::MetaParamIn::Query)
            }

            fn param_schema_ref() -> Option<poem_openapi::registry::MetaSchemaRef> {
                use $crate::http::extract::group::ParameterSchema;
                Some($crate::http::extract::group::schema(vec![$(
                    ParameterSchema::of::<$Type>(stringify!($name), concat!($($description, "\n"),+), &[$($example)?]),
                )+]))
            }

            async fn from_request(
                request: &'a poem::Request,
                _: &mut poem::RequestBody,
                _: poem_openapi::ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok(Self {
                    $($name: $crate::http::extract::group::sent(request, stringify!($name))?,)+
                })
            }
        }
    };
}

pub(crate) use parameters;

/// What the document says of a parameter.
pub(crate) struct ParameterSchema {
    name: &'static str,
    schema: MetaSchemaRef,
    required: bool,
}

impl ParameterSchema {
    pub(crate) fn of<T: Type>(
        name: &'static str,
        description: &'static str,
        example: &[&'static str],
    ) -> Self {
        let example = example.first().map(|example| (*example).into());
        let patch = MetaSchema { description: Some(description), example, ..MetaSchema::ANY };
        Self { name, schema: T::schema_ref().merge(patch), required: T::IS_REQUIRED }
    }
}

pub(crate) fn schema(parameters: Vec<ParameterSchema>) -> MetaSchemaRef {
    let required = parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.name);
    let schema = MetaSchema {
        required: required.collect(),
        properties: parameters.into_iter().map(|parameter| (parameter.name, parameter.schema)).collect(),
        ..MetaSchema::new("object")
    };
    MetaSchemaRef::Inline(Box::new(schema))
}

/// A parameter as the query of a request has it.
pub(crate) fn sent<T: ParseFromParameter>(request: &Request, name: &'static str) -> poem::Result<T> {
    let query = request.uri().query().unwrap_or_default();
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(other, _)| other == name);
    let values = values.map(|(_, value)| value.into_owned());
    T::parse_from_parameters(values)
        .map_err(|error| ParseParamError { name, reason: error.into_message() }.into())
}
