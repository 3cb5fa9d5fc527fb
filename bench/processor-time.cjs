// Required before a program (`node --require`): tells on file descriptor 3, when the process ends, what processor time
// it took, all threads together, in milliseconds.
const { writeSync } = require("node:fs");
const { isMainThread } = require("node:worker_threads");

// Threads of the program require it as well.
if (isMainThread)
  process.on("exit", () => {
    const { user, system } = process.cpuUsage();
    writeSync(3, String((user + system) / 1000));
  });
