//! Headers of requests and responses. The 4-byte size ahead of both is the transport's.

use std::borrow::Cow;

use crate::api::Api;
use crate::primitives::{Context, DecodeError, Field, Reader, Writer};

/// Strings in headers are never compact, in any header version.
const PLAIN: Context = Context { version: 0, flexible: false };

/// Ahead of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Which API.
    pub api_key: i16,
    /// In which version.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// Who asks, in its own words.
    pub client_id: Option<Cow<'a, str>>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header. Of an API or a version that is not declared it reads what all headers share, and leaves tagged
    /// fields, if any, to a caller that will not decode the body anyway.
    pub fn decode(reader: &mut Reader<'a>) -> Result<RequestHeader<'a>, DecodeError> {
        let header = RequestHeader {
            api_key: Field::read(reader, PLAIN)?,
            api_version: Field::read(reader, PLAIN)?,
            correlation_id: Field::read(reader, PLAIN)?,
            client_id: Field::read(reader, PLAIN)?,
        };
        let known = Api::of(header.api_key).filter(|api| header.api_version <= api.max);
        if known.is_some_and(|api| api.request_header_flexible(header.api_version)) {
            reader.tagged(|_, _| Ok(()))?;
        }
        Ok(header)
    }

    /// Writes the header.
    pub fn encode(&self, writer: &mut Writer) {
        self.api_key.write(writer, PLAIN);
        self.api_version.write(writer, PLAIN);
        self.correlation_id.write(writer, PLAIN);
        self.client_id.write(writer, PLAIN);
        if Api::of(self.api_key).is_some_and(|api| api.request_header_flexible(self.api_version)) {
            writer.uvarint(0);
        }
    }
}

/// Writes the header of a response.
pub fn encode_response_header(writer: &mut Writer, api: &Api, version: i16, correlation_id: i32) {
    correlation_id.write(writer, PLAIN);
    if api.response_header_flexible(version) {
        writer.uvarint(0);
    }
}

/// Reads the header of a response: its correlation id.
pub fn decode_response_header(reader: &mut Reader<'_>, api: &Api, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = Field::read(reader, PLAIN)?;
    if api.response_header_flexible(version) {
        reader.tagged(|_, _| Ok(()))?;
    }
    Ok(correlation_id)
}
