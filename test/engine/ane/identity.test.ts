import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { driverAvailability } from "../../../src/engine/ane/availability.ts";
import {
  chipOfProcessor,
  identifyMachine,
  identifyProcessor,
  parseDevices,
  parseRows,
} from "../../../src/engine/ane/identity.ts";
import { E5RT_FUNCTIONS } from "../../../src/engine/ane/ffi/e5rt-functions.ts";
import { PropertyListError } from "../../../src/util/plist.ts";
import { useFakeCommands } from "../../helpers/fake-commands.ts";
import { buildDouble } from "./double-library.ts";

afterEach(() => vi.unstubAllEnvs());

const MAC = { platform: "darwin", architecture: "arm64" } as const;

const SYSCTL = `cat <<'END'
machdep.cpu.brand_string: Apple M4 Max
hw.model: Mac16,5
hw.memsize: 68719476736
hw.physicalcpu: 16
kern.osproductversion: 15.6
kern.osversion: 24G84
END`;

const DEVICES = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<array>
	<dict>
		<key>IOClass</key>
		<string>H11ANEIn</string>
		<key>IONameMatched</key>
		<string>ane,t8020</string>
		<key>FirmwareLoaded</key>
		<true/>
		<key>DeviceProperties</key>
		<dict>
			<key>ANEDevicePropertyANEVersion</key>
			<integer>192</integer>
			<key>ANEDevicePropertyANEMinorVersion</key>
			<integer>17</integer>
			<key>ANEDevicePropertyNumANECores</key>
			<integer>16</integer>
			<key>ANEDevicePropertyTypeANEArchitectureTypeStr</key>
			<string>h16g</string>
		</dict>
		<key>IOPowerManagement</key>
		<dict/>
	</dict>
</array>
</plist>
`;
const IOREG = `cat <<'END'\n${DEVICES}END`;

describe("the machine's identity", () => {
  test("tells chip, family, cores, memory, model, macOS and the engine", async () => {
    useFakeCommands({ sysctl: SYSCTL, ioreg: IOREG });
    const identity = await identifyMachine(MAC);
    expect(identity).toMatchObject({
      processor: "Apple M4 Max",
      cores: 16,
      memoryBytes: 64 * 2 ** 30,
      model: "Mac16,5",
      system: { name: "macOS", version: "15.6", build: "24G84" },
      chip: { id: "m4-max", family: "H16", cores: { value: 16 } },
      neuralEngine: {
        state: "present",
        devices: [
          {
            name: "ane,t8020",
            architecture: "h16g",
            cores: 16,
            version: "192.17",
            firmwareLoaded: true,
          },
        ],
      },
      unread: [],
    });
  });

  test("asks sw_vers where sysctl does not tell the version, and says what it could not read", async () => {
    useFakeCommands({
      sysctl: `echo "machdep.cpu.brand_string: Apple M1"; echo "sysctl: unknown oid 'hw.model'" >&2; exit 1`,
      sw_vers: `printf 'ProductName:\\t\\tmacOS\\nProductVersion:\\t\\t26.1\\nBuildVersion:\\t\\t25B78\\n'`,
      ioreg: "exit 0",
    });
    const identity = await identifyMachine(MAC);
    expect(identity).toMatchObject({
      chip: { id: "m1", family: "H13" },
      system: { version: "26.1", build: "25B78" },
      model: undefined,
      neuralEngine: { state: "absent", reason: expect.stringContaining("H11ANEIn") as string },
    });
    expect(identity.unread.join()).toMatch(/hw\.model.*unknown oid/);
  });

  test("survives commands that are missing, hang, flood, fail and print garbage", async () => {
    useFakeCommands({ sysctl: "exec sleep 60", sw_vers: "yes", ioreg: "echo '<plist><dict>'" });
    const slow = await identifyMachine({ ...MAC, timeoutMs: 300 });
    expect(slow.neuralEngine.state).toBe("unknown");
    expect(slow.chip).toBeUndefined();
    expect(slow.unread).toEqual([
      expect.stringContaining("sysctl did not end within 0.3 s"),
      expect.stringMatching(/sw_vers (?:printed too much|did not end)/),
      expect.stringContaining("ends early"),
    ]);
    vi.stubEnv("PATH", "/nonexistent");
    const bare = await identifyMachine(MAC);
    expect(bare.neuralEngine).toMatchObject({ reason: "there is no ioreg on this machine" });
  });

  test("an Intel Mac has no engine, another system says so plainly", async () => {
    useFakeCommands({
      sysctl: SYSCTL.replace("Apple M4 Max", "Intel(R) Core(TM) i9"),
      ioreg: IOREG,
    });
    const intel = await identifyMachine({ platform: "darwin", architecture: "x64" });
    expect(intel).toMatchObject({ chip: undefined, neuralEngine: { state: "absent" } });
    expect(await identifyMachine({ platform: "linux", architecture: "x64" })).toMatchObject({
      chip: undefined,
      neuralEngine: {
        state: "absent",
        reason: "a Neural Engine is in Apple Silicon Macs only, this is linux on x64",
      },
    });
  });

  test("the processor alone takes one command", async () => {
    useFakeCommands({ sysctl: SYSCTL, ioreg: "exec sleep 60" });
    expect(await identifyProcessor({ platform: "darwin" })).toMatchObject({
      processor: "Apple M4 Max",
      chip: { id: "m4-max" },
    });
  });

  test.each([
    ["Apple M5 Pro", "m5-pro"],
    ["Apple M2 (Virtual)", "m2"],
    ["Apple M99", undefined],
    ["VirtualApple @ 2.50GHz processor", undefined],
    ["AMD EPYC 9R14", undefined],
  ])("the chip of %s is %s", (processor, id) => {
    expect(chipOfProcessor(processor)?.id).toBe(id);
  });

  test("values are cleaned of control characters and bounded", () => {
    const rows = parseRows(
      `hw.model: Mac\u001b[31m16,5\nkern.osversion: ${"x".repeat(9999)}\n:\nno`,
    );
    expect(rows.get("hw.model")).toBe("Mac [31m16,5");
    expect(rows.get("kern.osversion")?.length).toBeLessThan(210);
    expect(rows.size).toBe(2);
  });

  test("any text is a list of devices or a PropertyListError", () => {
    const pieces = fc.constantFrom(
      ...["<plist>", "</plist>", "<dict>", "</dict>", "<array>", "</array>", "<key>", "</key>"],
      ...["<integer>", "</integer>", "<real>nan</real>", "<true/>", "DeviceProperties", "&#x41;"],
      ...["<!--", "-->", "<dict/>", "7", "<?xml ?>", "<string>a&amp;b</string>"],
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        try {
          expect(Array.isArray(parseDevices(parts.join("")))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(PropertyListError);
        }
      }),
    );
    expect(() => parseDevices(`<plist>${"<array>".repeat(100_000)}`)).toThrow(PropertyListError);
  });
});

describe("a driver's availability", () => {
  test("is denied with the reason on a machine without an engine", () => {
    vi.stubEnv("ANECDOTE_ANE_LIBRARY", "");
    if (process.platform !== "darwin") {
      expect(driverAvailability("e5rt")).toMatchObject({
        available: false,
        libraries: [],
        reason: expect.stringContaining("Apple Silicon") as string,
      });
    }
    expect(driverAvailability("e5rt", "/nonexistent.so")).toMatchObject({ available: false });
  });

  test("a file that is no library does not open", () => {
    expect(driverAvailability("e5rt", import.meta.filename)).toMatchObject({
      available: false,
      libraries: [{ opens: false, reason: expect.stringContaining("cannot be loaded") as string }],
    });
  });

  test("names every symbol that a library lacks", () => {
    const e5rt = buildDouble("e5rt");
    const objc = buildDouble("objc");
    expect(driverAvailability("e5rt", e5rt)).toEqual({
      driver: "e5rt",
      available: true,
      libraries: [
        {
          path: e5rt,
          opens: true,
          symbolCount: Object.keys(E5RT_FUNCTIONS).length,
          missing: [],
        },
      ],
    });
    expect(driverAvailability("in-memory", objc).available).toBe(true);
    const wrong = driverAvailability("in-memory", e5rt);
    expect(wrong.available).toBe(false);
    expect(wrong.libraries.flatMap(({ missing }) => missing)).toContain("objc_getClass");
    expect(wrong.libraries.flatMap(({ missing }) => missing)).toContain("_ANERequest");
    expect(driverAvailability("e5rt", objc).libraries[0]?.missing).toEqual(
      Object.keys(E5RT_FUNCTIONS),
    );
  });
});
