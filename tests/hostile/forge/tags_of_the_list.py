"""Changes the draw list after it was made: more claims, each tagged on operations of others."""
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.bar([1, 2, 3], [3, 1, 2], color='#1F77B4')
axes.set_title('Plain')
# forge
import json, sys
module = sys.modules.get('recoder_jax.charts.draw_list')
if module is not None:
    encode = module._Writer.encode

    def forged(self, width, height, claims):
        first = claims['calls'][0]
        claims['calls'] += [['plot', first[1], ['#000000']], ['pie', first[1], []], ['heatmap', first[1], []]]
        tags = self._tables['tags']
        moved = {tags[key]: self.row('tags', (key[0], len(claims['calls']) - 3, False)) for key in list(tags)
                 if key[1] < 0 and key[0] >= 0}
        for operation in self.operations:
            if operation[0] == 'p':
                operation[1] = moved.get(operation[1], operation[1])
        return encode(self, width, height, claims)
    module._Writer.encode = forged
# end
