"""Reads a TensorBoard event file with Google's protobuf and a checksum computed bit by bit; prints JSON."""

import json
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
OPTIONAL, REPEATED = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED

# Numbers and types as tensorflow's event.proto, summary.proto, tensor.proto and tensor_shape.proto give them.
MESSAGES = {
    "SessionLog": [("status", 1, FIELD.TYPE_INT32, OPTIONAL, None)],
    "PluginData": [
        ("plugin_name", 1, FIELD.TYPE_STRING, OPTIONAL, None),
        ("content", 2, FIELD.TYPE_BYTES, OPTIONAL, None),
    ],
    "SummaryMetadata": [
        ("plugin_data", 1, FIELD.TYPE_MESSAGE, OPTIONAL, "PluginData"),
        ("data_class", 4, FIELD.TYPE_INT32, OPTIONAL, None),
    ],
    "Dim": [("size", 1, FIELD.TYPE_INT64, OPTIONAL, None)],
    "TensorShape": [("dim", 2, FIELD.TYPE_MESSAGE, REPEATED, "Dim")],
    "Tensor": [
        ("dtype", 1, FIELD.TYPE_INT32, OPTIONAL, None),
        ("tensor_shape", 2, FIELD.TYPE_MESSAGE, OPTIONAL, "TensorShape"),
        ("string_val", 8, FIELD.TYPE_BYTES, REPEATED, None),
    ],
    "Value": [
        ("tag", 1, FIELD.TYPE_STRING, OPTIONAL, None),
        ("simple_value", 2, FIELD.TYPE_FLOAT, OPTIONAL, None),
        ("tensor", 8, FIELD.TYPE_MESSAGE, OPTIONAL, "Tensor"),
        ("metadata", 9, FIELD.TYPE_MESSAGE, OPTIONAL, "SummaryMetadata"),
    ],
    "Summary": [("value", 1, FIELD.TYPE_MESSAGE, REPEATED, "Value")],
    "Event": [
        ("wall_time", 1, FIELD.TYPE_DOUBLE, OPTIONAL, None),
        ("step", 2, FIELD.TYPE_INT64, OPTIONAL, None),
        ("file_version", 3, FIELD.TYPE_STRING, OPTIONAL, None),
        ("summary", 5, FIELD.TYPE_MESSAGE, OPTIONAL, "Summary"),
        ("session_log", 7, FIELD.TYPE_MESSAGE, OPTIONAL, "SessionLog"),
    ],
}


def event_class():
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="t", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, type_name in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if type_name:
                added.type_name = f".t.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("t.Event")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            top = (crc ^ (byte >> bit)) & 1
            crc = (crc >> 1) ^ (0x82F63B78 if top else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(path):
    data, at, Event = open(path, "rb").read(), 0, event_class()
    while at < len(data):
        head = data[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        (head_sum,) = struct.unpack("<I", data[at + 8 : at + 12])
        body = data[at + 12 : at + 12 + length]
        (body_sum,) = struct.unpack("<I", data[at + 12 + length : at + 16 + length])
        assert head_sum == masked(head), f"checksum of the length at {at}"
        assert body_sum == masked(body), f"checksum of the event at {at}"
        event = Event.FromString(body)
        assert not event.UnknownFields() if hasattr(event, "UnknownFields") else True
        yield event
        at += 16 + length
    assert at == len(data)


def plain(event):
    result = {"step": event.step, "scalars": {}, "texts": {}}
    if event.HasField("file_version"):
        result["version"] = event.file_version
    if event.HasField("session_log"):
        result["status"] = event.session_log.status
    for value in event.summary.value:
        if value.HasField("simple_value"):
            result["scalars"][value.tag] = value.simple_value
        else:
            assert value.metadata.plugin_data.plugin_name == "text" and value.metadata.data_class == 2
            assert value.tensor.dtype == 7 and [d.size for d in value.tensor.tensor_shape.dim] == [1]
            result["texts"][value.tag] = value.tensor.string_val[0].decode("utf-8")
    return result


print(json.dumps([plain(event) for event in read(sys.argv[1])]))
