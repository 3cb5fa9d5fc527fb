import { join } from "node:path";
import type { Command } from "commander";
import { downloadTinyStories, writeStories } from "../text/index.ts";
import type { Exit } from "./commands.ts";
import { UsageError } from "./errors.ts";
import { StatusLine, formatBytes, formatDuration } from "./terminal.ts";
