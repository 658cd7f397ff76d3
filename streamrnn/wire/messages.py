"""All messages of the protocol, both ways: what the rest of streamrnn imports from the wire.

in       Sample, Block                     encode_sample, encode_block          decode_ingest
out      Output, Flag, BlockOutput         encode_output, encode_block_output   decode_published
events   Event                             encode_event                         decode_published
control                                    encode_request, encode_reply, …      decode_request, decode_reply
"""

from __future__ import annotations

from .control import decode_reply, decode_request, encode_error, encode_reply, encode_request
from .events import EVENT_KINDS, Event, Published, decode_published, encode_event
from .ids import BLOCK_TOPIC, check_id, id_of_topic, sample_topic
from .ingest import Block, Sample, decode_ingest, encode_block, encode_sample
from .limits import DEFAULT_LIMITS, Limits
from .outputs import (
    BlockOutput,
    Flag,
    Output,
    encode_block_output,
    encode_output,
    flag_topic,
    output_topic,
)

__all__ = [
    "BLOCK_TOPIC",
    "DEFAULT_LIMITS",
    "EVENT_KINDS",
    "Block",
    "BlockOutput",
    "Event",
    "Flag",
    "Limits",
    "Output",
    "Published",
    "Sample",
    "check_id",
    "decode_ingest",
    "decode_published",
    "decode_reply",
    "decode_request",
    "encode_block",
    "encode_block_output",
    "encode_error",
    "encode_event",
    "encode_output",
    "encode_reply",
    "encode_request",
    "encode_sample",
    "flag_topic",
    "id_of_topic",
    "output_topic",
    "sample_topic",
]
