/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/core/excuse.h"
#include "train/evaluate/regions.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

ct_tensor *ct_region_boxes(const ct_experiment *e, const ct_split *split, int64_t regions) {
    if (e->pictures) return NULL;
    char *own = NULL, *common = ct_path(split->folder, "boxes.npy");
    ct_tensor *boxes = NULL;
    if (asprintf(&own, "%s/%s_boxes.npy", split->folder, split->name) < 0) own = NULL;
    if (!own || !common) ct_fail("out of memory");
    const char *path = !ct_ok()                    ? NULL
                       : access(own, F_OK) == 0    ? own
                       : access(common, F_OK) == 0 ? common
                                                   : NULL;
    boxes = path ? ct_npy_open(path) : NULL;
    bool each = boxes && ct_ndim(boxes) == 3 && ct_dim(boxes, 0) >= split->image_count;
    if (boxes &&
        (!(each || ct_ndim(boxes) == 2) || ct_dim(boxes, -1) != 4 || ct_dim(boxes, -2) != regions))
        ct_fail("%s: %s, expected (%" PRId64 ",4) or (%" PRId64 ",%" PRId64 ",4)", path,
                ct_tensor_text(boxes), regions, split->image_count, regions);
    boxes = boxes && ct_ok() ? ct_tensor_cast(boxes, CT_F64) : NULL;
    if (boxes && ct_tensor_has_nonfinite(boxes))
        ct_fail("%s: not all numbers are finite, expected parts of a picture's width and height",
                path);
    free(own);
    free(common);
    return ct_ok() ? boxes : NULL;
}

bool ct_region_find(const ct_experiment *e, const ct_tensor *boxes, int64_t image, int64_t region,
                    int64_t regions, ct_region *out) {
    int64_t side = llround(sqrt((double)regions));
    if (e->pictures && side * side == regions) {
        double across = (double)(region % side), down = (double)(region / side), n = (double)side;
        *out = (ct_region){across / n, down / n, (across + 1) / n, (down + 1) / n};
        return true;
    }
    if (!boxes || ct_dim(boxes, -2) != regions) return false;
    int64_t at = 4 * ((ct_ndim(boxes) == 3 ? image * regions : 0) + region);
    *out = (ct_region){ct_get(boxes, at), ct_get(boxes, at + 1), ct_get(boxes, at + 2),
                       ct_get(boxes, at + 3)};
    return true;
}

/* Of a split that was cut, the first are its. */
ct_images *ct_region_pictures(const ct_split *split) {
    char *list = NULL;
    if (split->images->picture) return NULL;
    if (asprintf(&list, "%s/%s_pictures.txt", split->folder, split->name) < 0)
        return ct_fail("out of memory");
    ct_picture_view view = ct_picture_view_defaults(64);
    ct_images *shown = access(list, F_OK) == 0 ? ct_images_open_pictures(list, &view, 1) : NULL;
    free(list);
    ct_error_excuse();
    if (!shown || shown->count == split->image_count + split->images_left_out) return shown;
    ct_images_close(shown);
    return NULL;
}
