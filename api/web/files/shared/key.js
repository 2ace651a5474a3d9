// The API key of this tab, kept in its session storage only.

/** The session storage entry where `key_init.js` leaves the key of a link. */
const LINKED = "darkroom.linked_key";
const SHAPE = /^dk_[A-Za-z0-9]+_[A-Za-z0-9_-]+$/;

export class Key extends EventTarget {
  #name;

  /** `name` is the session storage entry. */
  constructor(name) {
    super();
    this.#name = name;
  }

  get value() {
    return sessionStorage.getItem(this.#name) ?? "";
  }

  /** Store another key, or remove it (""); dispatch `change`. */
  set(value) {
    if (value) sessionStorage.setItem(this.#name, value);
    else sessionStorage.removeItem(this.#name);
    this.dispatchEvent(new Event("change"));
  }

  /** Store the key that came with a link; return the fault found in it, or "". */
  takeLinked() {
    const value = sessionStorage.getItem(LINKED)?.trim();
    if (value === undefined) return "";
    sessionStorage.removeItem(LINKED);
    const fault = faultOf(value);
    if (!fault && value !== this.value) this.set(value);
    return fault;
  }

  /** The part of the key that may be shown. */
  get hint() {
    const [, id] = this.value.split("_");
    return id ? `dk_${id.slice(0, 6)}…` : "";
  }
}

/** Check the form of a key before any request; return the fault, or "". */
export function faultOf(value) {
  if (!value) return "Enter a key.";
  return SHAPE.test(value) ? "" : "A key looks like dk_…_…: two parts after dk, and no spaces.";
}

/** The keys of a tenant and of an operator. */
export const tenantKey = new Key("darkroom.key");
export const operatorKey = new Key("darkroom.ops_key");
