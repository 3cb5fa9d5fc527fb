import { create } from "@bufbuild/protobuf";
import type { Literal, LiteralData } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import type { MilType } from "../mil/types.ts";
import { carriedBy, carry } from "./carried.ts";
import { CoreMlError } from "./errors.ts";
import {
  BlobFileValueSchema,
  DictionaryEntrySchema,
  DictionaryValueSchema,
  ImmediateValueSchema,
  ListValueSchema,
  TupleValueSchema,
  ValueSchema,
} from "./generated/mil_pb.ts";
import type { ImmediateValue, Value } from "./generated/mil_pb.ts";
import { readTensorValue, writeTensorValue } from "./tensor-value.ts";
import { readType, writeType } from "./type-message.ts";

/** A literal from its message; a tensor in a weight file stays a reference. Throws `CoreMlError`. */
export function readValue(message: Value | undefined): Literal {
  if (message === undefined) throw new CoreMlError("coreml.value.missing", "a value is missing");
  const type = readType(message.type);
  const literal: Literal = Object.freeze({ kind: "literal", type, data: readData(message, type) });
  carry(literal, {
    unknown: message.$unknown,
    fields: message.docString === "" ? {} : { docString: message.docString },
  });
  return literal;
}

function readData(message: Value, type: MilType): LiteralData {
  const { value } = message;
  switch (value.case) {
    case "blobFileValue": {
      const { fileName, offset } = value.value;
      if (offset > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new CoreMlError("coreml.value.offset", `a weight stands at the offset ${offset}`);
      }
      return Object.freeze({ kind: "blob", path: fileName, offset: Number(offset) });
    }
    case "immediateValue":
      return readImmediate(value.value, type);
    case undefined:
      throw new CoreMlError("coreml.value.missing", `a ${formatType(type)} value has no contents`);
  }
}

function readImmediate(message: ImmediateValue, type: MilType): LiteralData {
  const { value } = message;
  switch (value.case) {
    case "tensor": {
      if (type.kind !== "tensor") break;
      let count: number | undefined = 1;
      for (const size of type.shape) {
        count = size === "?" || count === undefined ? undefined : count * size;
      }
      const data = readTensorValue(value.value, type.dataType, count);
      const open = type.shape.filter((size) => size === "?").length;
      if (open > 1) {
        throw new CoreMlError(
          "coreml.value.shape",
          `a ${formatType(type)} value does not say its shape`,
        );
      }
      return data;
    }
    case "tuple":
    case "list": {
      const items = value.value.values.map(readValue);
      if (type.kind !== value.case) break;
      const expected = type.kind === "tuple" ? type.items.length : type.length;
      if (expected !== "?" && expected !== items.length) {
        throw new CoreMlError(
          "coreml.value.count",
          `a ${formatType(type)} value holds ${items.length} items`,
        );
      }
      return Object.freeze({ kind: "items", items: Object.freeze(items) });
    }
    case "dictionary":
      if (type.kind !== "dict") break;
      return Object.freeze({
        kind: "pairs",
        pairs: Object.freeze(
          value.value.values.map((entry) =>
            Object.freeze([readValue(entry.key), readValue(entry.value)] as const),
          ),
        ),
      });
    case undefined:
      throw new CoreMlError("coreml.value.missing", `a ${formatType(type)} value has no contents`);
  }
  throw new CoreMlError(
    "coreml.value.kind",
    `a value of type ${formatType(type)} holds a ${value.case}`,
  );
}

/** The message of a literal. Throws `CoreMlError` for types that models do not have. */
export function writeValue(literal: Literal): Value {
  const { data } = literal;
  const message = create(ValueSchema, { type: writeType(literal.type) });
  const extra = carriedBy(literal);
  const docString = extra?.fields?.["docString"];
  if (typeof docString === "string") message.docString = docString;
  if (extra?.unknown !== undefined) message.$unknown = [...extra.unknown];
  message.value =
    data.kind === "blob"
      ? {
          case: "blobFileValue",
          value: create(BlobFileValueSchema, { fileName: data.path, offset: BigInt(data.offset) }),
        }
      : {
          case: "immediateValue",
          value: create(ImmediateValueSchema, { value: immediate(literal, data) }),
        };
  return message;
}

function immediate(
  literal: Literal,
  data: Exclude<LiteralData, { kind: "blob" }>,
): ImmediateValue["value"] {
  switch (data.kind) {
    case "numbers":
    case "strings": {
      const { type } = literal;
      if (type.kind !== "tensor") {
        throw new CoreMlError(
          "coreml.value.kind",
          `a ${formatType(type)} value cannot hold plain ${data.kind}`,
        );
      }
      return { case: "tensor", value: writeTensorValue(type.dataType, data) };
    }
    case "items": {
      const values = data.items.map(writeValue);
      return literal.type.kind === "tuple"
        ? { case: "tuple", value: create(TupleValueSchema, { values }) }
        : { case: "list", value: create(ListValueSchema, { values }) };
    }
    case "pairs": {
      const values = data.pairs.map(([key, value]) =>
        create(DictionaryEntrySchema, { key: writeValue(key), value: writeValue(value) }),
      );
      return { case: "dictionary", value: create(DictionaryValueSchema, { values }) };
    }
  }
}
