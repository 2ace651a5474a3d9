// Whether the image of a job can be shown.
import { moment } from "./format.js";

/** Return whether a job has an image that was not deleted. */
export function hasImage({ image }) {
  return Boolean(image) && !image.deleted_at;
}

/** Say when an image was deleted. */
export function deletedText({ deleted_at }) {
  return `The image was deleted on ${moment(deleted_at)}.`;
}
