// Submit one instance over HTTP with Node alone, and wait for its end. Usage: node node.mjs BK_HOST_ID
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.BKSI_URL ?? "http://127.0.0.1:8080";
const identity = { bk_app_code: process.env.BKSI_APP_CODE, bk_app_secret: process.env.BKSI_APP_SECRET };

// One call, repeated while the server is busy or away.
async function call(path, { body, ...headers } = {}) {
  for (let attempt = 0; ; attempt++) {
    let answer;
    try {
      answer = await fetch(url + path, {
        method: body ? "POST" : "GET",
        body: body && JSON.stringify(body),
        headers: { "Content-Type": "application/json", "X-Bkapi-Authorization": JSON.stringify(identity), ...headers },
        signal: AbortSignal.timeout(30_000),
      });
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(100 * 2 ** attempt);
      continue;
    }
    if ([429, 503].includes(answer.status) && attempt < 5) {
      await sleep(1000 * Number(answer.headers.get("Retry-After") ?? 1));
      continue;
    }
    const report = await answer.json();
    if (!answer.ok) throw new Error(`HTTP ${answer.status}: ${report.code} ${report.message}`);
    return report;
  }
}

const batch = { bk_biz_id: 1, bk_module_id: 60, instances: [{ bk_host_id: Number(process.argv[2]) }] };
// One key for all tries: whatever got lost, it is the same request.
let report = await call("/v1/batches", { body: batch, "Idempotency-Key": randomUUID() });
while (["PENDING", "RUNNING"].includes(report.status)) {
  report = await call(`/v1/batches/${report.request_id}`, { Prefer: "wait=20" });
}
console.log(report.request_id, report.status, JSON.stringify(report.data ?? report.message));
process.exitCode = report.status === "SUCCESS" ? 0 : 1;
