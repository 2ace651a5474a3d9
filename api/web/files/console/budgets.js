// Budgets of a tenant or a key: what is used and left of them.
import { el } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { cardTable, when } from "./formatters.js";

const COLUMNS = ["Per", "Limit", "Used", "Reserved", "Left", "Threshold reached", "Resets"];

export function budgetTable(budgets) {
  return cardTable("Budgets", COLUMNS, budgets.map(row));
}

/** A budget in a few words, such as "3 of 10". */
export function budgetWords(budget) {
  const text = `${amount(budget.used)} of ${number(budget.limit)}`;
  return [el("span", {}, text), " ", reached(budget)];
}

function row(budget) {
  return [
    budget.period,
    number(budget.limit),
    amount(budget.used),
    amount(budget.promised),
    amount(budget.left),
    reached(budget) ?? "none",
    when(budget.resets_at),
  ];
}

/** Credits; unknown if no price is set. */
function amount(credits) {
  return credits === null ? "?" : number(credits);
}

function reached({ threshold }) {
  return (
    threshold &&
    el("span", { class: `badge ${threshold === 100 ? "bad" : "wait"}` }, `${threshold} %`)
  );
}
