// Reads an HdrHistogram log with somebody else's library and prints what it says of each
// line, so that a test can hold it against what was written.
import { readFileSync } from "node:fs";
import hdr from "hdr-histogram-js";

const reader = new hdr.HistogramLogReader(readFileSync(process.argv[2], "utf8"));
const lines = [];
for (;;) {
  const h = reader.nextIntervalHistogram();
  if (h === null || h === undefined) break;
  const tag = h.tag === "NO TAG" ? "" : (h.tag ?? "");
  lines.push({
    tag,
    start: Math.round(h.startTimeStampMsec),
    end: Math.round(h.endTimeStampMsec),
    n: Number(h.totalCount),
    max: Number(h.maxValue),
    p: [50, 90, 99, 99.9].map((q) => Number(h.getValueAtPercentile(q))),
  });
}
console.log(JSON.stringify(lines));
