import type { TextResult } from "../generate/service/messages.ts";

/** Upper bounds of a histogram's classes, in seconds. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

class Histogram {
  readonly #counts: number[] = SECONDS.map(() => 0);
  #count = 0;
  #sum = 0;

  observe(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    const place = SECONDS.findIndex((bound) => seconds <= bound);
    if (place >= 0) this.#counts[place] = (this.#counts[place] ?? 0) + 1;
  }

  lines(name: string): readonly string[] {
    let below = 0;
    return [
      ...SECONDS.map((bound, index) => {
        below += this.#counts[index] ?? 0;
        return `${name}_bucket{le="${bound}"} ${below}`;
      }),
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ];
  }
}

/** Numbers that are read when they are asked for. */
export interface Gauges {
  readonly running: number;
  readonly waiting: number;
}

/** Times of one request for texts. */
export interface TextTiming {
  /** A piece of a text has come, so many milliseconds after the text's last one was written. */
  readonly piece: (sinceMs?: number) => void;
  readonly ended: (results: readonly TextResult[]) => void;
}

/** What a server has done since it began, in Prometheus' text format. */
export class ServerMetrics {
  readonly #startedMs = performance.now();
  /** By route and status. */
  readonly #requests = new Map<string, number>();
  readonly #firstToken = new Histogram();
  readonly #duration = new Histogram();
  readonly #betweenTokens = new Histogram();
  readonly #tokens = { prompt: 0, cached: 0, written: 0 };

  /** A request was answered. */
  answered(method: string, route: string, status: number): void {
    const labels = `method=${label(method)},route=${label(route)},status="${status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
  }

  textsAsked(): TextTiming {
    const askedMs = performance.now();
    let hasBegun = false;
    return {
      piece: (sinceMs) => {
        if (!hasBegun) this.#firstToken.observe((performance.now() - askedMs) / 1000);
        hasBegun = true;
        if (sinceMs !== undefined) this.#betweenTokens.observe(sinceMs / 1000);
      },
      ended: (results) => {
        this.#duration.observe((performance.now() - askedMs) / 1000);
        for (const { promptTokenCount, reusedTokenCount, texts } of results) {
          this.#tokens.prompt += promptTokenCount;
          this.#tokens.cached += reusedTokenCount;
          for (const { tokenCount } of texts) this.#tokens.written += tokenCount;
        }
      },
    };
  }

  /** All numbers in Prometheus' text format, version 0.0.4. */
  text({ running, waiting }: Gauges): string {
    const { rss, heapUsed, external } = process.memoryUsage();
    const metrics: readonly Metric[] = [
      [
        "anecdote_requests_total",
        "counter",
        "HTTP requests that were answered",
        [...this.#requests].map(([labels, count]) => `anecdote_requests_total{${labels}} ${count}`),
      ],
      ["anecdote_prompt_tokens_total", "counter", "tokens of prompts", this.#tokens.prompt],
      [
        "anecdote_cached_prompt_tokens_total",
        "counter",
        "of them, those that stood in a cache",
        this.#tokens.cached,
      ],
      [
        "anecdote_generated_tokens_total",
        "counter",
        "tokens that were written",
        this.#tokens.written,
      ],
      ["anecdote_texts_running", "gauge", "texts that are written now", running],
      ["anecdote_texts_waiting", "gauge", "texts that wait for their turn", waiting],
      [
        "anecdote_time_to_first_token_seconds",
        "histogram",
        "from a request to its first text",
        this.#firstToken.lines("anecdote_time_to_first_token_seconds"),
      ],
      [
        "anecdote_time_between_tokens_seconds",
        "histogram",
        "from one piece of a text to the next, as they are written",
        this.#betweenTokens.lines("anecdote_time_between_tokens_seconds"),
      ],
      [
        "anecdote_request_duration_seconds",
        "histogram",
        "from a request to the end of its texts",
        this.#duration.lines("anecdote_request_duration_seconds"),
      ],
      ["process_resident_memory_bytes", "gauge", "memory of the process", rss],
      ["nodejs_heap_used_bytes", "gauge", "objects of the HTTP thread", heapUsed],
      ["nodejs_external_memory_bytes", "gauge", "buffers of the HTTP thread", external],
      [
        "process_uptime_seconds",
        "gauge",
        "seconds since the server began",
        (performance.now() - this.#startedMs) / 1000,
      ],
    ];
    return `${metrics.flatMap(linesOf).join("\n")}\n`;
  }
}

type Metric = readonly [
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  value: number | readonly string[],
];

function linesOf([name, type, help, value]: Metric): readonly string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...(typeof value === "number" ? [`${name} ${value}`] : value),
  ];
}

function label(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
