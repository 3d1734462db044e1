// One tool from Node: `make` here, or BROKER_URL=... node produce.mjs [FUNCTION] beside workers of yours.
import { call } from "./stepflow.mjs";

const code = `
import statistics

def describe(numbers: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(numbers), "deviation": statistics.pstdev(numbers)}

def fail(numbers: list[float]) -> None:
    raise ValueError("no number is good enough")
`;
const [functionName = "describe", timeoutMs = "60000"] = process.argv.slice(2);
const request = { code, function_name: functionName, parameters: { numbers: [1, 2, 3, 4] } };
try {
  console.log(JSON.stringify(await call(process.env.BROKER_URL, request, { timeoutMs: Number(timeoutMs) })));
  process.exit(0);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
