import { describe, expect, it } from "vitest";
import { GuestRoom } from "../../src/engine/cpu/guest-room.ts";
import { SharedMemory } from "../../src/engine/host/memory.ts";

describe("room for guests in a memory", () => {
  it("is given as zeros, apart from each other, and again once it came back", () => {
    const memory = new SharedMemory(65536);
    const room = new GuestRoom(memory, 1024, 512);
    const first = room.take(128);
    const second = room.take(256);
    expect([first?.byteOffset, second?.byteOffset]).toEqual([1024, 1152]);
    expect(room.take(256)).toBeUndefined();
    new Uint8Array(memory.shared, 1024, 384).fill(7);
    room.giveBack(1024, 128);
    room.giveBack(1152, 256);
    expect(room.take(512)?.byteOffset).toBe(1024);
    expect(new Uint8Array(memory.shared, 1024, 512).every((byte) => byte === 0)).toBe(true);
  });
});
