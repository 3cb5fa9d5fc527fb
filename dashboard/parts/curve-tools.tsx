import { AXIS_NAMES, axis, isLogScale, shownRange, smoothing } from "../chart-settings.ts";
import { Choice } from "./kit.tsx";

/** What all charts of a view share: axis, smoothing, log scale, and the way back from a zoom. */
export function CurveTools() {
  return (
    <div class="tools" role="group" aria-label="How curves are shown">
      <Choice
        label="over"
        value={axis.value}
        choices={AXIS_NAMES}
        onChoose={(name) => {
          axis.value = name;
          shownRange.value = null;
        }}
      />
      <label class="choice">
        <span>smoothing</span>
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={smoothing.value}
          onInput={(event) => (smoothing.value = Number(event.currentTarget.value))}
        />
        <output>{smoothing.value.toFixed(2)}</output>
      </label>
      <label class="choice">
        <input
          type="checkbox"
          checked={isLogScale.value}
          onChange={(event) => (isLogScale.value = event.currentTarget.checked)}
        />
        <span>log scale</span>
      </label>
      <button
        type="button"
        disabled={shownRange.value === null}
        onClick={() => (shownRange.value = null)}
      >
        show all
      </button>
      <span class="hint wide-only">drag over a chart to zoom; with the keyboard + − ← → 0</span>
    </div>
  );
}
