//! Values by the name of their argument, wherever the request may put it.

use std::borrow::Cow;

use http::Method;

use super::json::Value;
use super::{BadRequest, BodyFacts, Facts, RequestView};

/// The values found at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'r> {
    Absent,
    One(Cow<'r, str>),
    /// The argument was repeated, or its value is a JSON list. At least one.
    Many(Vec<Cow<'r, str>>),
}

impl<'r> Found<'r> {
    /// The one value. Which of several counts differs from reader to reader.
    pub fn one(self) -> Result<Option<Cow<'r, str>>, BadRequest> {
        match self {
            Self::Absent => Ok(None),
            Self::One(value) => Ok(Some(value)),
            Self::Many(_) => Err(BadRequest("a deciding argument has several values")),
        }
    }

    pub fn as_slice(&self) -> &[Cow<'r, str>] {
        match self {
            Self::Absent => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    pub(super) fn and(self, value: Cow<'r, str>) -> Self {
        match self {
            Self::Absent => Self::One(value),
            Self::One(first) => Self::Many(vec![first, value]),
            Self::Many(mut values) => {
                values.push(value);
                Self::Many(values)
            }
        }
    }
}

/// An argument that may stand in the query, in a form, in a field of a multipart body or at the top of a JSON body, but in
/// one of them.
pub fn argument<'r>(name: &str, request: &'r RequestView<'_>, facts: &'r Facts<'_>) -> Result<Found<'r>, BadRequest> {
    let in_query = request.arguments().find(name)?;
    let in_body = facts.body.argument(name)?;
    // Where we read an argument and the product does not, it is absent there, which may reach the whole tenant.
    if in_body != Found::Absent && matches!(*request.method, Method::GET | Method::HEAD) {
        return Err(BadRequest("a deciding argument stands in the body of a GET, which many servers do not read"));
    }
    if in_query != Found::Absent && matches!(facts.body, BodyFacts::Json(_)) {
        return Err(BadRequest("a deciding argument stands in the query beside a JSON body: put it into the body"));
    }
    match (in_query, in_body) {
        (found, Found::Absent) | (Found::Absent, found) => Ok(found),
        // Equal values are refused as well: which one counts is no question that a gate should have to answer.
        _ => Err(BadRequest("a deciding argument stands both in the query and in the body")),
    }
}

impl<'a> BodyFacts<'a> {
    /// A member of a form or a multipart body, or of the top level of a JSON body.
    pub fn argument<'r>(&'r self, name: &str) -> Result<Found<'r>, BadRequest> {
        match self {
            Self::NotHeld => Err(NOT_HELD),
            Self::Empty => Ok(Found::Absent),
            Self::Form(form) => form.find(name),
            Self::Json(Value::Object(object)) => object.member(name)?.map_or(Ok(Found::Absent), values_of),
            Self::Json(_) => Err(BadRequest("the body is not a JSON object")),
            Self::Multipart(fields) => fields.find(name),
        }
    }

    /// A text field of a multipart body.
    pub fn field<'r>(&'r self, name: &str) -> Result<Found<'r>, BadRequest> {
        match self {
            Self::NotHeld => Err(NOT_HELD),
            Self::Empty => Ok(Found::Absent),
            Self::Multipart(fields) => fields.find(name),
            Self::Json(_) | Self::Form(_) => Err(BadRequest("the body must be `multipart/form-data`")),
        }
    }

    /// Whether a JSON pointer finds anything, of whatever shape.
    pub fn has(&self, pointer: &str) -> Result<bool, BadRequest> {
        match self {
            Self::Json(value) => Ok(!matches!(value.at(pointer)?, None | Some(Value::Null))),
            Self::NotHeld | Self::Empty | Self::Form(_) | Self::Multipart(_) => {
                Ok(!matches!(self.at(pointer)?, Found::Absent))
            }
        }
    }

    /// What a JSON pointer finds; a form has a top level alone.
    pub fn at<'r>(&'r self, pointer: &str) -> Result<Found<'r>, BadRequest> {
        match self {
            Self::NotHeld => Err(NOT_HELD),
            Self::Empty => Ok(Found::Absent),
            Self::Form(form) => match pointer.strip_prefix('/') {
                Some(name) if !name.contains(['/', '~']) => form.find(name),
                _ => Err(BadRequest("the body must be JSON")),
            },
            Self::Json(value) => value.at(pointer)?.map_or(Ok(Found::Absent), values_of),
            Self::Multipart(_) => Err(BadRequest("the body must be JSON")),
        }
    }

    /// The keys of the object that a JSON pointer finds.
    pub fn keys<'r>(&'r self, pointer: &str) -> Result<Found<'r>, BadRequest> {
        match self.json()? {
            Some(value) => value.at(pointer)?.map_or(Ok(Found::Absent), keys_of),
            None => Ok(Found::Absent),
        }
    }

    /// The document; none where there is no body.
    pub fn json(&self) -> Result<Option<&Value<'a>>, BadRequest> {
        match self {
            Self::NotHeld => Err(NOT_HELD),
            Self::Empty => Ok(None),
            Self::Form(_) | Self::Multipart(_) => Err(BadRequest("the body must be JSON")),
            Self::Json(value) => Ok(Some(value)),
        }
    }
}

const NOT_HELD: BadRequest = BadRequest("the body decides, and it was not read");

/// The one value, or each of a list.
pub(in crate::authz) fn values_of<'r>(value: &'r Value<'_>) -> Result<Found<'r>, BadRequest> {
    match value {
        Value::Null => Ok(Found::Absent),
        // An empty list is left out by some readers and means "none" to others.
        Value::List(items) if items.is_empty() => Err(BadRequest("a deciding list in the body is empty")),
        Value::List(items) => items.iter().map(scalar).collect::<Result<_, _>>().map(Found::Many),
        _ => scalar(value).map(Found::One),
    }
}

/// The keys of an object.
pub(in crate::authz) fn keys_of<'r>(value: &'r Value<'_>) -> Result<Found<'r>, BadRequest> {
    match value {
        Value::Null => Ok(Found::Absent),
        Value::Object(object) => match object.iter().map(|(key, _)| Cow::Borrowed(key)).collect::<Vec<_>>() {
            keys if keys.is_empty() => Err(BadRequest("a deciding object in the body is empty")),
            keys => Ok(Found::Many(keys)),
        },
        _ => Err(BadRequest("a deciding member of the body is not an object")),
    }
}

fn scalar<'r>(value: &'r Value<'_>) -> Result<Cow<'r, str>, BadRequest> {
    match value {
        Value::Text(text) => Ok(Cow::Borrowed(text)),
        Value::Whole(number) => Ok(Cow::Owned(number.to_string())),
        _ => Err(BadRequest("a deciding member of the body is neither text nor a whole number")),
    }
}
