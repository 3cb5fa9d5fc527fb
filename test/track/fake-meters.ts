/** What macmon 0.8 prints, shortened, with its watts. */
export function macmonLine(ane: string, cpu: string, gpu: string, all: string): string {
  return `{"timestamp":"2026-02-24T20:38:15.427569+00:00","temp":{"cpu_temp_avg":43.7},"memory":{"ram_total":25769803776},"cpu_power":${cpu},"gpu_power":${gpu},"ane_power":${ane},"all_power":${all},"sys_power":5.876533,"ram_power":0.116,"gpu_ram_power":0.0009}`;
}

/** A macmon whose chip always consumes 2 W on the engine, 1 W on the CPU and 0.5 W on the GPU, every 50 ms. */
export const MACMON = `#!/bin/sh
[ "$1 $2" = "pipe -i" ] || exit 2
[ -z "$FAKE_PID_FILE" ] || echo $$ > "$FAKE_PID_FILE"
while :; do
  echo '${macmonLine("2.0", "1.0", "0.5", "3.5").replace(/"timestamp":"[^"]*",/, "")}'
  sleep 0.05
done
`;

/** A sample of powermetrics, shortened. */
export function powermetricsSample(aneMilliwatts: string, elapsedNs = 100_000_000): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
<key>is_delta</key><true/>
<key>hw_model</key><string>Mac16,5</string>
<key>timestamp</key><date>2026-02-24T20:38:15Z</date>
<key>elapsed_ns</key><integer>${elapsedNs}</integer>
<key>processor</key><dict>
<key>clusters</key><array><dict><key>name</key><string>E-Cluster</string></dict></array>
<key>ane_energy</key><integer>200</integer>
<key>cpu_power</key><real>1000</real>
<key>gpu_power</key><real>500</real>
<key>ane_power</key><real>${aneMilliwatts}</real>
<key>combined_power</key><real>3500</real>
</dict>
<key>gpu</key><dict><key>idle_ratio</key><real>0.98</real></dict>
</dict>
</plist>
`;
}

/** A powermetrics with the watts of the macmon above. */
export const POWERMETRICS = `#!/bin/sh
while :; do
  cat <<'END'
${powermetricsSample("2000")}END
  printf '\\0'
  sleep 0.05
done
`;
