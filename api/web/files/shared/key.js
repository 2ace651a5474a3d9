// The key that opens the API: kept in this tab's session, and nowhere else.

/** Where `key_init.js` leaves the key of a link. */
const LINKED = "darkroom.linked_key";
const SHAPE = /^dk_[A-Za-z0-9]+_[A-Za-z0-9_-]+$/;

export class Key extends EventTarget {
  #name;

  /** `name` is where the session keeps it. */
  constructor(name) {
    super();
    this.#name = name;
  }

  get value() {
    return sessionStorage.getItem(this.#name) ?? "";
  }

  /** Keeps another, or forgets it (""), and tells by a `change` event. */
  set(value) {
    if (value) sessionStorage.setItem(this.#name, value);
    else sessionStorage.removeItem(this.#name);
    this.dispatchEvent(new Event("change"));
  }

  /** Keeps the key that came with a link, where one did; gives what is wrong with it, "" for nothing. */
  takeLinked() {
    const value = sessionStorage.getItem(LINKED)?.trim();
    if (value === undefined) return "";
    sessionStorage.removeItem(LINKED);
    const fault = faultOf(value);
    if (!fault && value !== this.value) this.set(value);
    return fault;
  }

  /** What may be shown of it. */
  get hint() {
    const [, id] = this.value.split("_");
    return id ? `dk_${id.slice(0, 6)}…` : "";
  }
}

/** Says what is wrong with a key before anybody is asked; "" where nothing is. */
export function faultOf(value) {
  if (!value) return "Enter a key.";
  return SHAPE.test(value) ? "" : "A key looks like dk_…_…: two parts after dk, and no spaces.";
}

/** The key of a tenant, and that of an operator. */
export const tenantKey = new Key("darkroom.key");
export const operatorKey = new Key("darkroom.ops_key");
