//! Requests and answers as bytes, for lies about what they say.

use bytes::Bytes;
use floe_engine::event::{Reply, ReplyPart};
use floe_wire::api::Api;
use floe_wire::frame::{RequestHeader, encode_response_header};
use floe_wire::messages::Message;
use floe_wire::primitives::{Reader, Writer};

/// The request's header, if it is of this API, and its body.
pub(super) fn asked(frame: &Bytes, api: i16) -> Option<(RequestHeader<'_>, Reader<'_>)> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).ok().filter(|header| header.api_key == api)?;
    Some((header, reader))
}

/// A request with its header.
pub(super) fn framed<'a>(header: &RequestHeader<'_>, request: &impl Message<'a>) -> Bytes {
    let mut writer = Writer::new();
    header.encode(&mut writer);
    request.encode(&mut writer, header.api_version);
    writer.finish_contiguous()
}

/// The answer to a request with this header.
pub(super) fn answer<'a>(header: &RequestHeader<'_>, response: &impl Message<'a>) -> Option<Reply> {
    let mut writer = Writer::new();
    encode_response_header(&mut writer, Api::of(header.api_key)?, header.api_version, header.correlation_id);
    response.encode(&mut writer, header.api_version);
    let body = writer.finish_contiguous();
    let size = Bytes::copy_from_slice(&(body.len() as u32).to_be_bytes());
    Some(Reply { parts: vec![ReplyPart::Mem(size), ReplyPart::Mem(body)] })
}
