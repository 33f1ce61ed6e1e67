import { Builder } from 'flatbuffers';

/** A builder that has grown beyond is not kept. */
const maxKept = 1 << 20;

/** One builder, used again and again. */
export class Builders {
  private fb = new Builder(1024);

  /** An empty builder, good until the next one is asked for. */
  next(): Builder {
    if (this.fb.dataBuffer().capacity() > maxKept) this.fb = new Builder(1024);
    this.fb.clear();
    return this.fb;
  }
}
